"""The vendor's wire forms, both ways: a form-encoded request becomes the parameters boto3 would take, and the
answer boto3 would give becomes XML. Driven by botocore's own service descriptions, so an action is written in
boto3's words and its answer has the vendor's shape. Used by `sandbox.aws.simulator`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from botocore.loaders import Loader
from botocore.model import ListShape, OperationModel, ServiceModel, Shape, StructureShape

from sandbox.aws.errors import AwsError, invalid_value, missing

Form = dict[str, str]


@cache
def service_model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


@cache
def operation(service: str, action: str) -> OperationModel:
    model = service_model(service)
    if action not in model.operation_names:
        raise AwsError("InvalidAction", f"The action {action} is not valid for this web service.")
    return model.operation_model(action)


def parse(service: str, action: str, form: Form) -> dict[str, Any]:
    """The parameters of a request as boto3 names them; unknown and ill-formed ones are refused."""
    shape = operation(service, action).input_shape
    tree = _tree({key: value for key, value in form.items() if key not in ("Action", "Version")})
    # Signed URLs carry their signature as parameters of the request.
    tree = {key: value for key, value in tree.items() if not key.startswith("X-Amz-")}
    if shape is None:
        return {}
    ec2 = service == "ec2"
    params = _structure(shape, tree, "", ec2)
    for name in shape.required_members:
        if name not in params:
            raise missing(_wire_name(shape.members[name], name, ec2))
    return params


def render(service: str, action: str, result: dict[str, Any], request_id: str) -> bytes:
    """The answer to a request, given as boto3 would return it."""
    model = service_model(service)
    shape = operation(service, action).output_shape
    out: list[str] = []
    namespace = model.metadata["xmlNamespace"]
    if service == "ec2":
        out.append(f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{namespace}/">')
        out.append(f"<requestId>{request_id}</requestId>")
        if shape is None:
            out.append("<return>true</return>")
        else:
            _members(shape)(result, out)
        out.append(f"</{action}Response>")
    else:
        out.append(f'<{action}Response xmlns="{namespace}">')
        if shape is not None:
            wrapper = shape.serialization.get("resultWrapper", f"{action}Result")
            out.append(f"<{wrapper}>")
            _members(shape)(result, out)
            out.append(f"</{wrapper}>")
        out.append(
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
        )
    return "".join(out).encode()


def render_error(service: str, style: str, error: AwsError, request_id: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a refusal; `style` is what the request looked like: query, json, rest."""
    code, message = escape(error.code), escape(error.message)
    if service == "ec2":
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code>'
            f"<Message>{message}</Message></Error></Errors><RequestID>{request_id}</RequestID></Response>"
        )
        return body.encode(), {"Content-Type": "text/xml;charset=UTF-8"}
    if service == "s3":
        body = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>'
            f"<RequestId>{request_id}</RequestId></Error>"
        )
        return body.encode(), {"Content-Type": "application/xml"}
    if style == "query":
        fault = "Sender" if error.status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return body.encode(), {"Content-Type": "text/xml"}
    text = json.dumps({"__type": error.code, "message": error.message})
    return text.encode(), {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}


def timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


# Requests: dotted keys become a tree, and the description says what each branch is.


def _tree(form: Form) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for key, value in form.items():
        *path, last = key.split(".")
        node = root
        for part in path:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise AwsError(
                    "MalformedQueryString", f"The parameter {key} is given both as a value and as a list"
                )
            node = child
        if isinstance(node.get(last), dict):
            raise AwsError(
                "MalformedQueryString", f"The parameter {key} is given both as a value and as a list"
            )
        node[last] = value
    return root


def _wire_name(member: Shape, name: str, ec2: bool) -> str:
    serialization = member.serialization
    if ec2:
        if "queryName" in serialization:
            return str(serialization["queryName"])
        location = str(serialization.get("name", name))
        return location[0].upper() + location[1:]
    if isinstance(member, ListShape) and serialization.get("flattened"):
        return str(member.member.serialization.get("name", name))
    return str(serialization.get("name", name))


@cache
def _wire_names(shape: StructureShape, ec2: bool) -> dict[str, str]:
    return {_wire_name(member, name, ec2): name for name, member in shape.members.items()}


def _structure(shape: StructureShape, tree: Any, path: str, ec2: bool) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise AwsError("UnknownParameter", f"The parameter {path.rstrip('.')} is not recognized")
    names = _wire_names(shape, ec2)
    result: dict[str, Any] = {}
    for wire, value in tree.items():
        name = names.get(wire)
        if name is None:
            raise AwsError("UnknownParameter", f"The parameter {path}{wire} is not recognized")
        result[name] = _value(shape.members[name], value, f"{path}{wire}", ec2)
    return result


def _value(shape: Shape, value: Any, path: str, ec2: bool) -> Any:
    if isinstance(shape, StructureShape):
        return _structure(shape, value, path + ".", ec2)
    if isinstance(shape, ListShape):
        return _list(shape, value, path, ec2)
    if isinstance(value, dict):
        raise AwsError("UnknownParameter", f"The parameter {path}.{next(iter(value))} is not recognized")
    return _scalar(shape.type_name, value, path)


def _list(shape: ListShape, value: Any, path: str, ec2: bool) -> list[Any]:
    if not isinstance(value, dict):
        if value == "":
            return []
        raise invalid_value(f"Value ({value}) for parameter {path} is invalid. Parameter must be a list")
    if not ec2 and not shape.serialization.get("flattened"):
        value = value.get(shape.member.serialization.get("name", "member"), value)
    try:
        keys = sorted(value, key=int)
    except ValueError:
        raise AwsError(
            "UnknownParameter", f"The parameter {path}.{next(iter(value))} is not recognized"
        ) from None
    return [_value(shape.member, value[key], f"{path}.{key}", ec2) for key in keys]


def _scalar(kind: str, value: str, path: str) -> Any:
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("float", "double"):
            return float(value)
    except ValueError:
        raise invalid_value(f"Value ({value}) for parameter {path} is invalid. Expected: 'Integer'") from None
    if kind == "boolean":
        if value.lower() not in ("true", "false"):
            raise invalid_value(
                f"Value ({value}) for parameter {path} is invalid. Expected: 'true' or 'false'"
            )
        return value.lower() == "true"
    return value


# Answers: one closure per shape, made once, because a list of a thousand volumes is a hundred thousand values.

Writer = Callable[[Any, list[str]], None]


@cache
def _members(shape: StructureShape) -> Writer:
    parts: dict[str, Writer] = {}

    def write(value: Any, out: list[str]) -> None:
        for name, item in value.items():
            if item is None:
                continue
            writer = parts.get(name)
            if writer is None:
                # Made at first use, because some shapes contain themselves.
                member = shape.members[name]
                writer = parts[name] = _element(member, str(member.serialization.get("name", name)))
            writer(item, out)

    return write


def _element(shape: Shape, name: str) -> Writer:
    if isinstance(shape, StructureShape):
        inner = _members(shape)

        def write_structure(value: Any, out: list[str]) -> None:
            out.append(f"<{name}>")
            inner(value, out)
            out.append(f"</{name}>")

        return write_structure
    if isinstance(shape, ListShape):
        item = _element(shape.member, str(shape.member.serialization.get("name", "member")))

        def write_list(value: Any, out: list[str]) -> None:
            out.append(f"<{name}>")
            for entry in value:
                item(entry, out)
            out.append(f"</{name}>")

        return write_list
    to_text = _TEXT.get(shape.type_name, _string)

    def write_scalar(value: Any, out: list[str]) -> None:
        out.append(f"<{name}>{to_text(value)}</{name}>")

    return write_scalar


def _string(value: Any) -> str:
    return escape(str(value))


_TEXT: dict[str, Callable[[Any], str]] = {
    "boolean": lambda value: "true" if value else "false",
    "timestamp": timestamp,
}
