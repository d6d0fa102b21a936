"""What ships as data: recipes are documents that pass the door, and the schema says what the door says."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from activities.models.apps import SecretKey
from starter import documents, recipes
from starter.schema import app_document_schema, as_text

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_passes_the_door_and_the_schema(name: str) -> None:
    recipe = recipes.get(name)
    assert documents.parse(recipe.text, name).components
    Draft202012Validator(app_document_schema()).validate(yaml.safe_load(recipe.text))
    assert len(recipe.summary) > 20


def test_the_schema_in_the_docs_is_the_one_of_the_models() -> None:
    committed = (DOCS / "app-document.schema.json").read_text(encoding="utf-8")
    assert committed == as_text(app_document_schema()), (
        "write it anew: supergiant app schema > docs/app-document.schema.json"
    )


def test_the_schema_refuses_unknown_keys_everywhere() -> None:
    schema = app_document_schema()
    Draft202012Validator.check_schema(schema)
    for name, model in {"App": schema, **schema["$defs"]}.items():
        if model.get("type") == "object":
            assert model["additionalProperties"] is False, name
    assert "title" not in schema["$defs"]["Container"]["properties"]["image"]


def redis_config(instance: int, tmp_path: Path) -> list[str]:
    """What the recipe's command gives a server on its standard input, and its arguments."""
    (container,) = documents.parse(recipes.get("redis").text, "redis").components[0].containers
    server = tmp_path / "redis-server"
    server.write_text('#!/bin/sh\necho "arguments: $*"\ncat\n')
    server.chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SUPERGIANT_INSTANCE": str(instance),
        "SUPERGIANT_COMPONENT": "redis",
        "REDISCLI_AUTH": "geheim",
    }
    run = subprocess.run(container.command, env=env, capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def test_redis_instance_0_is_the_primary_and_the_others_follow_it(tmp_path: Path) -> None:
    assert not [line for line in redis_config(0, tmp_path) if line.startswith("replicaof")]
    for instance in (1, 2):
        assert "replicaof redis-0 6379" in redis_config(instance, tmp_path)


def test_the_redis_password_never_stands_on_a_command_line(tmp_path: Path) -> None:
    arguments, *config = redis_config(1, tmp_path)
    assert arguments == "arguments: -"
    assert {"requirepass geheim", "masterauth geheim", "appendfsync always"} <= set(config)
    (container,) = documents.parse(recipes.get("redis").text, "redis").components[0].containers
    assert isinstance(container.env["REDISCLI_AUTH"], SecretKey)
    assert container.ready is not None
    assert not re.search(r"-a\b|--pass", " ".join(container.ready.exec or []))
