"""The OpenAPI 3.1 document, made from the route table and the structs of the contract. Pure."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING, Any

import msgspec

from realtime import __version__, errors
from realtime.surface.rest import problems, schemas
from realtime.surface.rest.route import Auth
from realtime.surface.rest.routes import ROUTES
from realtime.wire import rest

if TYPE_CHECKING:
    from realtime.errors import RealtimeError
    from realtime.surface.rest.route import Route

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


def document() -> dict[str, Any]:
    """Return the document."""
    structs: list[type[msgspec.Struct]] = [rest.Problem, rest.Health, *(one for route in ROUTES for one in _structs(route))]
    found = schemas.components(structs)
    queries = {route.query.__name__ for route in ROUTES if route.query is not None}
    refused = {kind for route in ROUTES for kind in problems.errors_of(route)}
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, found)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Roomwire", "version": __version__, "description": ABOUT},
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": ".."}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
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


def _structs(route: Route[Any, Any]) -> list[type[msgspec.Struct]]:
    answers = [one for one in route.answers.values() if one is not None]
    return [*(one for one in (route.body, route.query) if one is not None), *answers]


def _operation(route: Route[Any, Any], found: dict[str, schemas.Schema]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "tags": [route.tag], "summary": route.summary}
    about = found[route.query.__name__].get("description") if route.query is not None else None
    if about:
        operation["description"] = about
    parameters = _path_parameters(route.path)
    if route.query is not None:
        parameters += _query_parameters(found[route.query.__name__])
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas.reference(route.body)}}
        operation["requestBody"] = {"required": not route.body_optional, "content": content}
    operation["responses"] = {**_answers(route), **_refusals(route)}
    needed: dict[Auth, list[dict[str, list[str]]]] = {
        Auth.REQUIRED: [{"bearer": []}],
        Auth.OPTIONAL: [{"bearer": []}, {}],
        Auth.NONE: [],
        Auth.ADMIN: [{"bearer": []}],
    }
    operation["security"] = needed[route.auth]
    return operation


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {"name": name, "in": "path", "required": True, "description": _PATH[name][0], "schema": _PATH[name][1]} for name in names
    ]


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


def _answers(route: Route[Any, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, struct in sorted(route.answers.items()):
        answer: dict[str, Any] = {"description": _STATUS_MEANING[status]}
        if status == 200 and 201 in route.answers:
            answer["description"] = "It was there already; this is what it is."
        if struct is not None:
            answer["content"] = {"application/json": {"schema": schemas.reference(struct)}}
        if route.name == "create_room":
            answer["headers"] = {"Location": {"description": "The room's address.", "schema": {"type": "string"}}}
        answers[str(status)] = answer
    return answers


def _refusals(route: Route[Any, Any]) -> dict[str, Any]:
    by_status: dict[int, list[type[RealtimeError]]] = {}
    for kind in problems.errors_of(route):
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
