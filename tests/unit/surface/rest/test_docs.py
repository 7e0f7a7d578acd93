"""The documentation page: complete, linked, escaped, and at home under the content security policy."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

from realtime.errors import all_errors
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS
from realtime.operations import by_event
from realtime.surface.rest import asyncapi, docs, fields, markup, openapi, samples
from realtime.wire.socket import EMITTED

from .conftest import Client

VOID = {"meta", "link"}


class Reader(HTMLParser):
    """Reads a page strictly: elements close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


PAGE = read(docs.page(openapi.document(OPERATIONS, KINDS), asyncapi.document(OPERATIONS, KINDS)))


def test_it_names_every_path_event_and_error() -> None:
    ids = {attributes.get("id") for _, attributes in PAGE.elements}
    for item in openapi.document(OPERATIONS, KINDS)["paths"].values():
        assert {f"rest-{markup.slug(operation['operationId'])}" for operation in item.values()} <= ids
    assert {f"socket-requests-{markup.slug(name)}" for name in ("connect", *by_event(OPERATIONS))} <= ids
    assert {f"emitted-events-{markup.slug(name)}" for name in {**EMITTED, **KINDS.structs}} <= ids
    assert {f"error-{markup.slug(kind.code)}" for kind in all_errors()} <= ids
    for path in openapi.document(OPERATIONS, KINDS)["paths"]:
        assert path in PAGE.text


def test_every_link_within_the_page_leads_somewhere_and_ids_are_unique() -> None:
    ids = Counter(attributes["id"] for _, attributes in PAGE.elements if "id" in attributes)
    assert {name for name, count in ids.items() if count > 1} == set()
    links = {attributes["href"] for tag, attributes in PAGE.elements if tag == "a"}
    assert {link for link in links if link and link.startswith("#") and link[1:] not in ids} == set()


def test_it_has_nothing_inline_and_nothing_from_elsewhere() -> None:
    for tag, attributes in PAGE.elements:
        assert tag not in {"script", "style", "iframe", "img"}
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        for name in ("href", "src"):
            assert not re.match(r"\w+:|//", attributes.get(name) or ""), "of this server, wherever it is"


def test_what_documents_say_is_text_and_never_markup() -> None:
    rest, live = openapi.document(OPERATIONS, KINDS), asyncapi.document(OPERATIONS, KINDS)
    evil = '<script>alert("1")</script>`<b>`'
    rest["tags"][0]["description"] = evil
    rest["paths"]["/api/v1/me"]["get"]["summary"] = evil
    rest["components"]["schemas"]["User"]["description"] = evil
    live["components"]["messages"]["request_message_send"]["name"] = '"><script>'
    page = read(docs.page(rest, live))
    assert [tag for tag, _ in page.elements if tag in {"script", "b"}] == []
    assert '<script>alert("1")</script>' in page.text


def test_types_are_said_in_words() -> None:
    def words(schema: object) -> str:
        assert isinstance(schema, dict)
        return read(fields.kind(schema)).text

    assert words({"type": "array", "items": {"$ref": "#/components/schemas/Room"}}) == "list of Room"
    assert words({"enum": ["a", "b", "c"]}) == "a, b or c"
    assert words({"enum": [True]}) == "true"
    assert words({"anyOf": [{"type": "string"}, {"type": "null"}]}) == "string or null"
    assert words({"type": "string", "format": "date-time"}) == "time"
    assert words({}) == "any JSON"


def test_bounds_are_said_once() -> None:
    def meaning(schema: dict[str, object]) -> str:
        return read(markup.join(fields.row("x", schema, True)[2])).text.strip()

    bounded: dict[str, object] = {"type": "string", "minLength": 1, "maxLength": 8000}
    assert meaning(bounded) == "1–8,000 characters"
    assert meaning({**bounded, "description": "At most 8,000."}) == "At most 8,000."
    assert meaning({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}) == "1–200 · default 50"
    assert (
        meaning({"type": "array", "items": {"type": "string", "description": "An id."}, "maxItems": 2})
        == "An id. at most 2 items"
    )


def test_the_python_sample_is_python() -> None:
    [python] = [code for caption, code in samples.CLIENTS if caption.startswith("Python")]
    compile(python, "sample", "exec")


async def test_page_and_style_sheet_are_served(client: Client) -> None:
    page, style = await client.get("/api/docs"), await client.get("/api/docs.css")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert (style.status, style.headers["Content-Type"]) == (200, "text/css; charset=utf-8")
    assert "prefers-color-scheme: dark" in await style.text()
