"""The OpenAPI 3.1 document, made from the table of operations and their structs. Pure."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING, Any

import msgspec

from realtime import __version__, errors
from realtime.operations import Auth
from realtime.surface.rest import problems, schemas
from realtime.surface.rest.shape import PREFIX, shape
from realtime.wire import rest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.errors import RealtimeError
    from realtime.log.kinds import Kinds
    from realtime.operations import Rest, Row

TAGS = {
    "Accounts": "Register, sign in and out. An access token lives for minutes and is checked without the database; a "
    "refresh token works once and brings the next pair.",
    "Users": "Who somebody is, and what one does with one's own account.",
    "Rooms": "A room is one dense sequence of events. A public room may be found and joined; a private one is not there "
    "for whoever is no member; a direct one has two members for ever.",
    "Members": "Who is in a room, and as what: owner, admin or member.",
    "Messages": "Write, change, delete and read. A message is named by its room and `seq`.",
    "Administration": "For those who look after the server. Whether somebody does is read from the database with each request.",
    "Operation": "For load balancers and Prometheus, outside the prefix.",
}
ABOUT = """\
Accounts, rooms and durable ordered messages over REST. What happens live travels over Socket.IO: see `/api/asyncapi.json`.

Refusals are `application/problem+json` (RFC 9457) with a stable `code`, and `retryable` says whether the same request can
succeed later. Times are RFC 3339 in UTC with milliseconds. Unknown fields and parameters are refused in requests; answers
may gain fields."""
_UUID: schemas.Schema = {"type": "string", "format": "uuid"}
_PATH: dict[str, tuple[str, schemas.Schema]] = {
    "room": ("The room's id.", _UUID),
    "user": ("The user's id.", _UUID),
    "session": ("The session's id.", _UUID),
    "seq": ("The message's number in its room.", {"type": "integer", "minimum": 1, "maximum": rest.MAX_SEQ}),
}
_STATUS_MEANING = {200: "Done.", 201: "Made.", 204: "Done; there is nothing to say."}


def document(rows: Sequence[Row], kinds: Kinds) -> dict[str, Any]:
    """Return the document.

    Args:
        rows: All operations; those that are not asked for over REST are passed over.
        kinds: All kinds of events.
    """
    rows = [row for row in rows if row.rest is not None]
    structs: list[type[msgspec.Struct]] = [rest.Problem, rest.Health, *(one for row in rows for one in _structs(row))]
    found = schemas.components(structs, kinds.structs.values())
    queries = {query.__name__ for row in rows if (query := shape(row).query) is not None}
    refused = {kind for row in rows for kind in problems.errors_of(row)}
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        assert row.rest is not None
        paths.setdefault(PREFIX + row.rest.path, {})[row.rest.method.lower()] = _operation(row, row.rest, found)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Roomwire", "version": __version__, "description": ABOUT},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": ".."}],
        "tags": [{"name": name, "description": text} for name, text in _tags(rows).items()],
        "paths": paths | _probes(),
        "components": {
            # Queries are written out as parameters.
            "schemas": {name: schema for name, schema in found.items() if name not in queries},
            "examples": {
                kind.code: {"value": msgspec.to_builtins(problems.of(kind()))} for kind in errors.all_errors() if kind in refused
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `access_token` of register, login and refresh.",
                }
            },
        },
    }


def _tags(rows: Sequence[Row]) -> dict[str, str]:
    """Return the sections: ours in their order, and those that other capabilities bring."""
    return TAGS | {row.rest.tag: "" for row in rows if row.rest is not None and row.rest.tag not in TAGS}


def _structs(row: Row) -> list[type[msgspec.Struct]]:
    assert row.rest is not None
    parts = shape(row)
    return [one for one in (parts.body, parts.query, *row.rest.answers.values()) if one is not None]


def _operation(row: Row, route: Rest[Any, Any], found: dict[str, schemas.Schema]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": row.name, "tags": [route.tag], "summary": row.summary}
    parts = shape(row)
    query = None if parts.query is None else found[parts.query.__name__]
    if query and query.get("description"):
        operation["description"] = query["description"]
    parameters = [_path_parameter(row, name) for name in parts.path]
    if query is not None:
        parameters += _query_parameters(query)
    if parameters:
        operation["parameters"] = parameters
    if parts.body is not None:
        content = {"application/json": {"schema": schemas.reference(parts.body)}}
        operation["requestBody"] = {"required": not route.body_optional, "content": content}
    operation["responses"] = {**_answers(row, route), **_refusals(row)}
    needed: dict[Auth, list[dict[str, list[str]]]] = {
        Auth.REQUIRED: [{"bearer": []}],
        Auth.OPTIONAL: [{"bearer": []}, {}],
        Auth.NONE: [],
        Auth.ADMIN: [{"bearer": []}],
    }
    operation["security"] = needed[row.auth]
    return operation


def _path_parameter(row: Row, name: str) -> dict[str, Any]:
    if name in _PATH:
        description, schema = _PATH[name]
        return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}
    own = dict(msgspec.json.schema_components([row.request])[1][row.request.__name__]["properties"][name])
    about = {"description": own.pop("description")} if "description" in own else {}
    return {"name": name, "in": "path", "required": True, **about, "schema": own}


def _query_parameters(schema: schemas.Schema) -> list[dict[str, Any]]:
    parameters = []
    for name, one in schema["properties"].items():
        plain = schemas.without_null(one)
        parameter: dict[str, Any] = {"name": name, "in": "query", "required": name in schema["required"]}
        if "description" in plain:
            parameter["description"] = plain["description"]
        parameter["schema"] = {key: value for key, value in plain.items() if key != "description"}
        parameters.append(parameter)
    return parameters


def _answers(row: Row, route: Rest[Any, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, struct in sorted(route.answers.items()):
        answer: dict[str, Any] = {"description": _STATUS_MEANING[status]}
        if status == 200 and 201 in route.answers:
            answer["description"] = "It was there already; this is what it is."
        if struct is not None:
            answer["content"] = {"application/json": {"schema": schemas.reference(struct)}}
        if row.name == "create_room":
            answer["headers"] = {"Location": {"description": "The room's address.", "schema": {"type": "string"}}}
        answers[str(status)] = answer
    return answers


def _refusals(row: Row) -> dict[str, Any]:
    by_status: dict[int, list[type[RealtimeError]]] = {}
    for kind in problems.errors_of(row):
        by_status.setdefault(kind.status, []).append(kind)
    return {str(status): _refusal(status, kinds) for status, kinds in sorted(by_status.items())}


def _refusal(status: int, kinds: list[type[RealtimeError]]) -> dict[str, Any]:
    examples = {kind.code: {"$ref": f"#/components/examples/{kind.code}"} for kind in kinds}
    codes = ", ".join(f"`{kind.code}`" for kind in kinds)
    refusal: dict[str, Any] = {
        "description": f"{http.HTTPStatus(status).phrase}: {codes}.",
        "content": {problems.CONTENT_TYPE: {"schema": schemas.reference(rest.Problem), "examples": examples}},
    }
    headers = {}
    if any(kind.retryable for kind in kinds):
        headers["Retry-After"] = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
    if status == 401:
        headers["WWW-Authenticate"] = {"description": "The challenge (RFC 6750 §3).", "schema": {"type": "string"}}
    if headers:
        refusal["headers"] = headers
    return refusal


def _probes() -> dict[str, Any]:
    health = {"application/json": {"schema": schemas.reference(rest.Health)}}
    return {
        "/healthz": _probe("healthz", "Tell that the process lives.", {"200": {"description": "It does.", "content": health}}),
        "/readyz": _probe(
            "readyz",
            "Tell whether this node can serve.",
            {"200": {"description": "It can.", "content": health}, "503": {"description": "It cannot.", "content": health}},
        ),
        "/metrics": _probe(
            "metrics",
            "Read the metrics.",
            {"200": {"description": "In Prometheus' format.", "content": {"text/plain": {"schema": {"type": "string"}}}}},
        ),
    }


def _probe(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    operation = {"operationId": name, "tags": ["Operation"], "summary": summary, "responses": responses, "security": []}
    return {"get": operation}
