"""The JSON Schema of app documents, for editors and other programs; printed by `app schema`.

It is made from the models, so it cannot say anything else than they do; the copy in docs/ is compared by a
test.
"""

import json
from typing import Any

from activities.models.apps import App


def app_document_schema() -> dict[str, Any]:
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Supergiant app document",
        **_strict(App.model_json_schema()),
    }
    return schema


def as_text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _strict(node: Any, naming: bool = False) -> Any:
    """Refuse unknown keys everywhere, as the door does, and leave out the titles, which repeat the names.

    `naming`: the keys of this mapping are names of properties or definitions, not words of the schema.
    """
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {
        key: _strict(value, naming=key in ("properties", "$defs") and not naming)
        for key, value in node.items()
        if naming or key not in ("title", "default") or (key == "default" and value is not None)
    }
    if not naming and result.get("type") == "object" and "properties" in result:
        result["additionalProperties"] = False
    if not naming and isinstance(result.get("description"), str):
        result["description"] = " ".join(result["description"].split())
    return result
