"""The documentation page, made from the two documents. Pure, but for reading the style sheet that lies beside this file."""

from __future__ import annotations

import pathlib
from typing import Any

from realtime.errors import all_errors
from realtime.surface.rest import fields, samples
from realtime.surface.rest.markup import Child, Html, join, paragraphs, prose, slug, table, tag

METHODS = ("get", "post", "put", "patch", "delete")


def style() -> bytes:
    """Return the style sheet."""
    return pathlib.Path(__file__).with_name("docs.css").read_bytes()


def page(rest: dict[str, Any], live: dict[str, Any]) -> str:
    """Write the page.

    Args:
        rest: The OpenAPI document.
        live: The AsyncAPI document.
    """
    sections = [
        ("Getting started", _start()),
        *((one["name"], _operations(rest, one)) for one in rest["tags"]),
        ("Socket requests", _requests(live)),
        ("Emitted events", _emitted(live)),
        ("Objects", _objects(rest, live)),
        ("Errors", _errors()),
    ]
    head = join(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="docs.css">'),
        Html('<link rel="icon" href="../favicon.svg" type="image/svg+xml">'),
        tag("title", "Roomwire: documentation"),
    )
    body = join(
        tag("a", "Skip to the text", href="#main", class_="skip"),
        _banner(rest),
        tag(
            "div",
            _contents([name for name, _ in sections], {one["name"] for one in rest["tags"]}, rest, live),
            tag("main", *(_section(name, text) for name, text in sections), id="main"),
            class_="frame",
        ),
    )
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def _banner(rest: dict[str, Any]) -> Html:
    return tag(
        "header",
        tag("h1", tag("a", "Roomwire", href="../"), " ", tag("span", rest["info"]["version"], class_="version")),
        tag(
            "p",
            tag("a", "OpenAPI", href="openapi.json"),
            tag("a", "AsyncAPI", href="asyncapi.json"),
            tag("a", "Health", href="../readyz"),
            class_="links",
        ),
    )


def _contents(names: list[str], rest_tags: set[str], rest: dict[str, Any], live: dict[str, Any]) -> Html:
    """The list at the side: sections, and below each what is in it."""
    inside: dict[str, list[str]] = {name: [] for name in names}
    for _, _, operation in _each(rest):
        inside[operation["tags"][0]].append(operation["operationId"])
    inside["Socket requests"] = [_name(live, key) for key in live["operations"] if key.startswith(("connect", "request_"))]
    inside["Emitted events"] = [_name(live, key) for key in live["operations"] if key.startswith("emitted_")]
    entries = []
    for name in names:
        prefix = "rest" if name in rest_tags else slug(name)
        below = [tag("li", tag("a", one, href=f"#{prefix}-{slug(one)}")) for one in inside[name]]
        entries.append(tag("li", tag("a", name, href=f"#{slug(name)}"), tag("ul", *below) if below else None))
    return tag("nav", tag("ul", *entries), aria_label="Contents")


def _section(name: str, text: Html) -> Html:
    return tag("section", tag("h2", name), text, id=slug(name))


def _start() -> Html:
    rules = [tag("li", tag("strong", short), " ", prose(long)) for short, long in samples.RULES]
    return join(
        paragraphs(samples.INTRODUCTION),
        *(
            tag("figure", tag("figcaption", prose(caption)), tag("pre", tag("code", code), tabindex="0"))
            for caption, code in samples.CLIENTS
        ),
        tag("h3", "What you can rely on"),
        tag("ul", *rules, class_="rules"),
    )


# -- REST -----------------------------------------------------------------------------------------


def _each(rest: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, item[method]) for path, item in rest["paths"].items() for method in METHODS if method in item]


def _operations(rest: dict[str, Any], group: dict[str, str]) -> Html:
    mine = [_operation(rest, *one) for one in _each(rest) if one[2]["tags"] == [group["name"]]]
    return join(paragraphs(group["description"]), *mine)


def _operation(rest: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> Html:
    schemas = rest["components"]["schemas"]
    parameters = operation.get("parameters", [])
    parts: list[Child] = [
        tag("h3", tag("span", method.upper(), class_=f"method {method}"), " ", tag("code", path)),
        tag("p", prose(operation["summary"])),
        paragraphs(operation["description"]) if "description" in operation else None,
    ]
    if operation["security"] != [{"bearer": []}]:
        parts.append(tag("p", _needs(operation["security"]), class_="note"))
    for place, heading in (("path", "Path"), ("query", "Query")):
        rows = [
            fields.row(one["name"], {**one["schema"], **_about(one)}, one["required"]) for one in parameters if one["in"] == place
        ]
        if rows:
            parts += [tag("h4", heading), table(fields.HEADINGS, rows)]
    if "requestBody" in operation:
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        needed = "" if operation["requestBody"]["required"] else " (may be left out)"
        parts += [tag("h4", "Body" + needed), fields.of(schemas[fields.name_of(body)])]
    parts += [tag("h4", "Answers"), _answers(operation["responses"])]
    codes = [code for answer in operation["responses"].values() for code in _codes(answer)]
    if codes:
        parts += [tag("h4", "Refusals"), _chips(codes)]
    return tag("article", *parts, id=f"rest-{slug(operation['operationId'])}")


def _about(parameter: dict[str, Any]) -> dict[str, str]:
    return {"description": parameter["description"]} if "description" in parameter else {}


def _needs(security: list[dict[str, Any]]) -> str:
    return "The access token may be left out." if security else "No access token needed."


def _codes(answer: dict[str, Any]) -> list[str]:
    return [code for kind in answer.get("content", {}).values() for code in kind.get("examples", {})]


def _answers(responses: dict[str, Any]) -> Html:
    rows: list[list[Child]] = []
    for status, answer in responses.items():
        if not _codes(answer):
            kinds = [kind["schema"] for kind in answer.get("content", {}).values()]
            rows.append([status, fields.kind(kinds[0]) if kinds else "no content", prose(answer["description"])])
    return table(["Status", "Holds", "Meaning"], rows)


def _chips(codes: list[str]) -> Html:
    chips = [tag("li", tag("a", tag("code", code), href=f"#error-{slug(code)}")) for code in codes]
    return tag("ul", *chips, class_="chips")


# -- the socket -----------------------------------------------------------------------------------


def _name(live: dict[str, Any], key: str) -> str:
    name: str = live["components"]["messages"][key]["name"]
    return name


def _payload(live: dict[str, Any], reference: dict[str, str]) -> dict[str, Any]:
    message = live["components"]["messages"][reference["$ref"].rpartition("/")[2]]
    schema: dict[str, Any] = live["components"]["schemas"][fields.name_of(message["payload"])]
    return schema


def _requests(live: dict[str, Any]) -> Html:
    return join(
        paragraphs(live["info"]["description"]),
        *(_request(live, key, one) for key, one in live["operations"].items() if one["action"] == "receive"),
    )


def _request(live: dict[str, Any], key: str, operation: dict[str, Any]) -> Html:
    name = _name(live, key)
    answers = [live["components"]["messages"][one["$ref"].rpartition("/")[2]] for one in operation["reply"]["messages"]]
    links = [item for one in answers for item in (fields.kind(one["payload"]), " or ")][:-1]
    return tag(
        "article",
        tag("h3", tag("code", name)),
        paragraphs(operation.get("description") or operation["summary"]),
        tag("h4", "Payload"),
        fields.of(_payload(live, operation["messages"][0])),
        tag("p", tag("strong", "Answer: " if key == "connect" else "Ack: "), *links),
        id=f"socket-requests-{slug(name)}",
    )


def _emitted(live: dict[str, Any]) -> Html:
    articles = []
    for key, operation in live["operations"].items():
        if operation["action"] == "send":
            name = _name(live, key)
            articles.append(
                tag(
                    "article",
                    tag("h3", tag("code", name)),
                    paragraphs(operation["summary"]),
                    fields.of(_payload(live, operation["messages"][0])),
                    id=f"emitted-events-{slug(name)}",
                )
            )
    return join(paragraphs(samples.EMITTED), *articles)


# -- what both hold -------------------------------------------------------------------------------


def _objects(rest: dict[str, Any], live: dict[str, Any]) -> Html:
    every = {**live["components"]["schemas"], **rest["components"]["schemas"]}
    articles = [
        tag(
            "article",
            tag("h3", tag("code", name)),
            paragraphs(schema["description"]) if "description" in schema else None,
            fields.of(schema),
            id=fields.anchor(name),
        )
        for name, schema in sorted(every.items())
    ]
    return join(*articles)


def _errors() -> Html:
    rows: list[list[Child]] = [
        [
            tag("code", kind.code, id=f"error-{slug(kind.code)}"),
            str(kind.status),
            "yes" if kind.retryable else "no",
            prose(kind.default),
        ]
        for kind in all_errors()
    ]
    return join(paragraphs(samples.ERRORS), table(["Code", "Status", "Retry helps", "Meaning"], rows))
