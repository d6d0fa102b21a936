"""Create, delete and describe tags; those of resources kept by moto are passed to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlencode
from xml.etree import ElementTree

from sandbox.aws import tagging
from sandbox.aws.errors import AwsError
from sandbox.aws.listing import Texts, chosen, page
from sandbox.aws.registry import TAGGABLES, Call, Result, Taggable, action


@dataclass(frozen=True, slots=True)
class Tag:
    resource_id: str
    resource_type: str
    key: str
    value: str


@action("CreateTags", changes=True)
def create_tags(call: Call) -> Result:
    given = call.params["Tags"]
    # Refuses bad tags before anything is changed, also when moto keeps every resource named.
    tagging.merged({}, given)

    def add(tags: dict[str, str]) -> dict[str, str]:
        return tagging.merged(tags, given)

    return _change(call, add)


@action("DeleteTags", changes=True)
def delete_tags(call: Call) -> Result:
    unwanted = call.params.get("Tags")

    def remove(tags: dict[str, str]) -> dict[str, str]:
        if unwanted is None:
            # Without a list the vendor takes off all tags but its own.
            return {key: value for key, value in tags.items() if key.startswith("aws:")}
        gone = {
            tag["Key"]
            for tag in unwanted
            if "Key" in tag and tag.get("Value", tags.get(tag["Key"])) == tags.get(tag["Key"])
        }
        return {key: value for key, value in tags.items() if key not in gone}

    return _change(call, remove)


@action("DescribeTags")
def describe_tags(call: Call) -> Result:
    known: dict[str, Texts[Tag]] = {
        "key": lambda tag: (tag.key,),
        "resource-id": lambda tag: (tag.resource_id,),
        "resource-type": lambda tag: (tag.resource_type,),
        "value": lambda tag: (tag.value,),
    }
    found = chosen(_all(call), call.params.get("Filters", []), known, lambda tag: {tag.key: tag.value})
    shown, token = page(found, call.params, lambda tag: (0.0, f"{tag.resource_id} {tag.key}"))
    told = [
        {"ResourceId": tag.resource_id, "ResourceType": tag.resource_type, "Key": tag.key, "Value": tag.value}
        for tag in shown
    ]
    return {"Tags": told, "NextToken": token}


def _change(call: Call, change: Callable[[dict[str, str]], dict[str, str]]) -> Result:
    """Changes the tags of every resource named, or of none: all are found before one is written."""
    ours: list[tuple[Taggable, str]] = []
    others: list[str] = []
    for resource_id in dict.fromkeys(call.params["Resources"]):
        kind = TAGGABLES.get(resource_id.partition("-")[0])
        if kind is None:
            others.append(resource_id)
        else:
            kind.get(call, resource_id)
            ours.append((kind, resource_id))
    if others and not call.dry_run:
        _ask_moto(call, others)
    for kind, resource_id in ours:
        record = kind.get(call, resource_id)
        call.tx.put(kind.table, resource_id, replace(record, tags=change(record.tags)))
    return {}


def _ask_moto(call: Call, resource_ids: list[str]) -> None:
    form = {name: value for name, value in call.form.items() if not name.startswith("ResourceId.")}
    form.update({f"ResourceId.{number}": value for number, value in enumerate(resource_ids, 1)})
    request = replace(call.request, body=urlencode(form).encode())
    reply = call.moto.serve(request, "ec2", call.region, call.action, call.tx)
    if reply.status >= 400:
        raise _refusal(reply.body, reply.status)


def _refusal(body: bytes, status: int) -> AwsError:
    try:
        error = ElementTree.fromstring(body).find(".//Error")  # noqa: S314 (written by moto in this process)
    except ElementTree.ParseError:
        error = None
    if error is None:
        return AwsError("InternalError", "An internal error has occurred", 500)
    return AwsError(error.findtext("Code", "InternalError"), error.findtext("Message", ""), status)


def _all(call: Call) -> list[Tag]:
    own = [
        Tag(record.id, kind.resource_type, key, value)
        for kind in TAGGABLES.values()
        for record in kind.all(call)
        for key, value in record.tags.items()
    ]
    # Asked for without filters and pages, because both are applied to the sum.
    body = urlencode({"Action": "DescribeTags", "Version": "2016-11-15"}).encode()
    reply = call.moto.serve(replace(call.request, body=body), "ec2", call.region, "DescribeTags", None)
    for item in ElementTree.fromstring(reply.body).findall(".//{*}item"):  # noqa: S314 (as above)
        texts = [item.findtext(f"{{*}}{name}", "") for name in ("resourceId", "resourceType", "key", "value")]
        own.append(Tag(*texts))
    return own
