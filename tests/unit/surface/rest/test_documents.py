"""The two documents: they are valid, every reference leads somewhere, and they say what the server does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest

from realtime import errors
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS
from realtime.operations import by_event
from realtime.surface.rest import asyncapi, openapi, problems
from realtime.surface.rest.shape import PREFIX, shape
from realtime.wire import socket
from realtime.wire.types import Error

from .conftest import TOKEN, Client, message

OPENAPI, ASYNCAPI = openapi.document(OPERATIONS, KINDS), asyncapi.document(OPERATIONS, KINDS)
ROUTES = [row for row in OPERATIONS if row.rest is not None]
BOTH = pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])


def nodes(document: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document."""
    if isinstance(document, dict):
        yield document
        for value in document.values():
            yield from nodes(value)
    elif isinstance(document, list):
        for value in document:
            yield from nodes(value)


def resolve(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/")
    found: Any = document
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in OPENAPI["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def valid(document: dict[str, Any], name: str, value: Any) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return bool(jsonschema.Draft202012Validator(schema).is_valid(value))


@BOTH
def test_every_schema_is_one_by_the_metaschema(document: dict[str, Any]) -> None:
    assert document["components"]["schemas"]
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@BOTH
def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = [node["$ref"] for node in nodes(document) if "$ref" in node]
    assert references
    for reference in references:
        assert resolve(document, reference) is not None


@BOTH
def test_the_document_is_plain_json(document: dict[str, Any]) -> None:
    assert msgspec.json.decode(msgspec.json.encode(document)) == document


@BOTH
def test_every_schema_is_used(document: dict[str, Any]) -> None:
    used = {node["$ref"] for node in nodes(document) if "$ref" in node}
    assert {f"#/components/schemas/{name}" for name in document["components"]["schemas"]} <= used


# -- OpenAPI --------------------------------------------------------------------------------------


def test_openapi_has_each_route_under_an_id_of_its_own_and_a_declared_tag() -> None:
    assert OPENAPI["openapi"] == "3.1.0"
    found = {(method.upper(), path): operation["operationId"] for method, path, operation in operations()}
    assert len(set(found.values())) == len(found)
    assert {(row.rest.method, PREFIX + row.rest.path): row.name for row in ROUTES if row.rest}.items() <= found.items()
    tags = {one["name"] for one in OPENAPI["tags"]}
    assert {tag for _, _, operation in operations() for tag in operation["tags"]} == tags


def test_openapi_declares_the_variables_of_each_path_and_no_others() -> None:
    for _, path, operation in operations():
        parameters = operation.get("parameters", [])
        declared = [one["name"] for one in parameters if one["in"] == "path"]
        assert declared == re.findall(r"{(\w+)}", path)
        assert all(one["required"] for one in parameters if one["in"] == "path")
        assert len({(one["in"], one["name"]) for one in parameters}) == len(parameters)
        for one in parameters:
            jsonschema.Draft202012Validator.check_schema(one["schema"])


def test_openapi_lists_each_answer_and_each_refusal_of_a_route() -> None:
    for row in ROUTES:
        assert row.rest is not None
        operation = OPENAPI["paths"][PREFIX + row.rest.path][row.rest.method.lower()]
        answers = operation["responses"]
        for status, struct in row.rest.answers.items():
            content = answers[str(status)].get("content")
            assert content == (struct and {"application/json": {"schema": {"$ref": f"#/components/schemas/{struct.__name__}"}}})
        for kind in problems.errors_of(row):
            examples = answers[str(kind.status)]["content"][problems.CONTENT_TYPE]["examples"]
            assert resolve(OPENAPI, examples[kind.code]["$ref"])["value"]["code"] == kind.code
        assert ("requestBody" in operation) == (shape(row).body is not None)


def test_openapi_asks_for_a_token_where_the_server_does() -> None:
    needed = {operation["operationId"]: operation["security"] for _, _, operation in operations()}
    assert (needed["login"], needed["me"], needed["logout"]) == ([], [{"bearer": []}], [{"bearer": []}, {}])
    assert OPENAPI["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_openapi_writes_out_a_query_as_optional_parameters_without_null() -> None:
    parameters = {one["name"]: one for one in OPENAPI["paths"]["/api/v1/rooms/{room}/messages"]["get"]["parameters"]}
    assert set(parameters) == {"room", "before", "after", "around", "limit"}
    assert parameters["limit"]["description"]
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert parameters["before"]["schema"]["type"] == "integer"
    assert not parameters["before"]["required"]
    assert "ListMessages" not in OPENAPI["components"]["schemas"]


async def test_what_the_server_answers_fits_its_schema(client: Client) -> None:
    for path, name in (
        ("me", "User"),
        ("rooms", "Rooms"),
        ("rooms/r/members", "Members"),
        ("rooms/r/messages", "Messages"),
        ("rooms/r/events", "Events"),
        ("rooms?limit=0", "Problem"),
    ):
        answer = await client.get(f"/api/v1/{path}", headers=TOKEN)
        assert valid(OPENAPI, name, await answer.json(content_type=None)), path
    assert not valid(OPENAPI, "User", {"id": "x"})


# -- AsyncAPI -------------------------------------------------------------------------------------


def test_asyncapi_has_each_request_with_its_ack_and_the_refusal() -> None:
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    for name, row in by_event(OPERATIONS).items():
        assert row.socket is not None
        operation = ASYNCAPI["operations"]["request_" + name.replace(".", "_")]
        assert operation["action"] == "receive"
        [sent] = [message_of(one) for one in operation["messages"]]
        assert (sent["name"], sent["payload"]["$ref"]) == (name, f"#/components/schemas/{row.request.__name__}")
        answers = [message_of(one)["payload"]["$ref"].rpartition("/")[2] for one in operation["reply"]["messages"]]
        assert answers == [row.socket.ack.__name__, "Refused"]


def test_asyncapi_has_each_emitted_event() -> None:
    sent = {}
    for operation in ASYNCAPI["operations"].values():
        if operation["action"] == "send":
            [one] = [message_of(one) for one in operation["messages"]]
            sent[one["name"]] = one["payload"]["$ref"].rpartition("/")[2]
    assert sent == {"other": "OtherEvent"} | {
        name: struct.__name__ for name, struct in {**socket.EMITTED, **KINDS.structs}.items()
    }


def test_asyncapi_messages_of_an_operation_belong_to_its_channel() -> None:
    for operation in ASYNCAPI["operations"].values():
        for part in (operation, operation.get("reply")):
            if part is not None:
                prefix = part["channel"]["$ref"] + "/messages/"
                assert all(one["$ref"].startswith(prefix) for one in part["messages"])


def test_asyncapi_tells_how_to_connect() -> None:
    connect = ASYNCAPI["operations"]["connect"]
    assert message_of(connect["messages"][0])["payload"] == {"$ref": "#/components/schemas/ConnectAuth"}
    assert [message_of(one)["name"] for one in connect["reply"]["messages"]] == ["ready", "connect_error"]


def test_events_and_acks_fit_their_schemas() -> None:
    assert valid(ASYNCAPI, "MessageCreated", msgspec.json.decode(KINDS.encode(message(3))))
    refused = socket.Refused(error=Error.of(errors.RateLimited(retry_after_ms=5)))
    assert valid(ASYNCAPI, "Refused", msgspec.to_builtins(refused))
    assert valid(ASYNCAPI, "Appended", msgspec.to_builtins(socket.Appended(seq=1, at="2026-01-02T03:04:05.678Z")))
    assert not valid(ASYNCAPI, "MessageSend", {"room": "r", "client_id": "c", "body": "x", "extra": 1})


def message_of(reference: dict[str, str]) -> dict[str, Any]:
    """Follow a reference through its channel to the message."""
    found: dict[str, Any] = resolve(ASYNCAPI, resolve(ASYNCAPI, reference["$ref"])["$ref"])
    return found


# -- both are served ------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "document"), [("/api/openapi.json", OPENAPI), ("/api/asyncapi.json", ASYNCAPI)])
async def test_the_documents_are_served(client: Client, path: str, document: dict[str, Any]) -> None:
    answer = await client.get(path)
    assert (answer.status, await answer.json()) == (200, document)


@BOTH
def test_ids_and_secrets_say_what_they_are(document: dict[str, Any]) -> None:
    """What tools need that make clients, forms or test cases of the document."""
    formats: dict[str, set[str | None]] = {}

    def walk(schema: Any) -> None:
        for name, field in schema.get("properties", {}).items():
            kinds = [field, *field.get("anyOf", [])] if isinstance(field, dict) else []
            for one in kinds:
                if one.get("type") == "string" and "enum" not in one:
                    formats.setdefault(name, set()).add(one.get("format"))

    for schema in document["components"]["schemas"].values():
        walk(schema)
    for name in ("id", "room", "user", "actor", "session", "author"):
        assert formats.get(name, {"uuid"}) == {"uuid"}, name
    for name in ("password", "new_password", "current_password"):
        assert "password" in formats.get(name, {"password"}), name
