"""Holds real answers and real frames against the OpenAPI and AsyncAPI documents that the server gives out.

The clients in `tests/client.py` pass everything through here that they receive.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import jsonschema
import msgspec

from realtime.log.kinds import Kinds
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS
from realtime.operations import Row
from realtime.surface.rest import asyncapi, openapi

seen: Counter[str] = Counter()
"""What was checked: operation and status, event names, acks."""


def _validator(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    # The document's own components, under the schema's own root, so that its references resolve.
    return jsonschema.Draft202012Validator({"components": document["components"], **schema})


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)) + r"\Z")


def documents(kinds: Kinds, operations: Sequence[Row] = OPERATIONS) -> dict[str, Any]:
    """Return what this module holds answers against, with these kinds of events and these operations: its names below, and
    their values.
    """
    rest, socket = (msgspec.to_builtins(one.document(operations, kinds)) for one in (openapi, asyncapi))
    return {
        "_REST": rest,
        "_PATHS": [(_pattern(path), operations) for path, operations in rest["paths"].items()],
        "_MESSAGES": {key: _validator(socket, message["payload"]) for key, message in socket["components"]["messages"].items()},
        "_RESPONSES": {},
    }


_REST: dict[str, Any]
_PATHS: list[tuple[re.Pattern[str], dict[str, Any]]]
_MESSAGES: dict[str, jsonschema.Draft202012Validator]
_RESPONSES: dict[tuple[str, str], jsonschema.Draft202012Validator | None]
_REST, _PATHS, _MESSAGES, _RESPONSES = documents(KINDS).values()


def check_response(method: str, path: str, status: int, content_type: str, body: bytes) -> None:
    """Fail unless the operation documents this status with this body, and this error code with this status."""
    operation = next(
        (found[method.lower()] for pattern, found in _PATHS if pattern.match(path) and method.lower() in found), None
    )
    if operation is None:
        assert status in (404, 405), f"{method} {path} is not documented"
        return
    name = operation["operationId"]
    response = operation["responses"].get(str(status))
    assert response is not None, f"{name} answered {status}, which is not documented: {body!r}"
    seen[f"{name} {status}"] += 1
    if "content" not in response:
        assert body == b"", f"{name} {status} has no content"
        return
    media = response["content"].get(content_type.partition(";")[0])
    assert media is not None, f"{name} answered {content_type}"
    value = json.loads(body)
    key = (name, str(status))
    if key not in _RESPONSES:
        _RESPONSES[key] = _validator(_REST, media["schema"])
    validator = _RESPONSES[key]
    assert validator is not None
    validator.validate(value)
    if status >= 400:
        assert value["code"] in media["examples"], f"{name} does not document {value['code']}"
        assert value["status"] == status


def check_event(name: str, payload: Any) -> None:
    """Fail unless the server may emit this event with this payload."""
    validator = _MESSAGES.get("emitted_" + name.replace(".", "_"), _MESSAGES["emitted_other"])
    validator.validate(payload)
    assert validator is not _MESSAGES["emitted_other"] or payload["kind"] == name, f"the event {name} is not documented"
    seen[name] += 1


def check_ack(name: str, payload: Any) -> None:
    """Fail unless this may be the ack of a request."""
    key = f"ack_{name.replace('.', '_')}" if payload.get("ok") is True and name else "refused"
    _MESSAGES[key].validate(payload)
    seen[f"ack {name} {'ok' if payload['ok'] else payload['error']['code']}"] += 1
