"""Every field of text that a client can send, with everything that a text may be made of: refused or taken, never a failure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pytest

from realtime.node.operations import OPERATIONS
from realtime.operations import by_event
from realtime.surface.rest.shape import shape
from tests.client import PASSWORD, Api, Person, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.client import Answer, Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]

HOSTILE = {
    "NUL": "a\x00b", "NUL alone": "\x00", "escape": "\x1b[31mx", "bell": "x\x07", "DEL": "x\x7f", "NEL": "a\x85b", "CSI": "\x9bx",
    "override": "\u202enimda", "nothing": "\u200b" * 3, "marks": "a" + "\u0334" * 60, "line": "a\u2028b",
    "half a pair": "a\ud800b", "other half": "\udc00", "wildcards": "%_\\\\'", "quotes": "'; DROP TABLE users; --",
}  # fmt: skip
NAMES = ["override", "nothing", "marks", "line", "NUL", "NUL alone", "escape", "bell", "DEL", "NEL", "CSI", "half a pair"]


def texts(struct: Any) -> Iterator[tuple[str, bool]]:
    """Yield the names of a struct's fields that hold text, and whether in a list."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    for one in info.fields:
        kinds = [one.type.type if isinstance(one.type, msgspec.inspect.Metadata) else one.type]
        if isinstance(kinds[0], msgspec.inspect.UnionType):
            kinds = list(kinds[0].types)
        for kind in kinds:
            bare = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
            if isinstance(bare, msgspec.inspect.StrType):
                yield one.name, False
            elif isinstance(bare, msgspec.inspect.ListType):
                yield one.name, True


def filled(struct: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Return something for every field that must be there."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return {one.encode_name: known.get(one.name, "x") for one in info.fields if one.required}


async def test_no_text_in_any_body_query_or_path_is_a_failure_of_the_server(api: Api, nodes: Nodes) -> None:
    anna = await api.register()
    await nodes.running[0].administration.change(None, anna.id, admin=True)
    room = await anna.room("private")
    sent = await anna.send(room)
    known = {
        "kind": "private", "role": "member", "user": anna.id, "client_id": "c", "body": "x", "password": PASSWORD,
        "new_password": PASSWORD, "current_password": PASSWORD, "username": "someone", "rooms": [], "users": [],
    }  # fmt: skip
    tried = 0
    for row in (row for row in OPERATIONS if row.rest is not None):
        assert row.rest is not None
        path, method, parts = row.rest.path, row.rest.method, shape(row)
        places = {"room": room, "user": anna.id, "seq": str(sent), "session": anna.id}
        for what, hostile in HOSTILE.items():
            encoded = quote(hostile.encode(errors="surrogatepass"), safe="")
            for name in (one for one in places if f"{{{one}}}" in path):
                answer = await ask(anna, method, path.format(**places | {name: encoded}))
                assert answer.status < 500, (row.name, name, what, answer.json)
                tried += 1
            for name, _ in texts(parts.query) if parts.query else ():
                answer = await ask(anna, method, f"{path.format(**places)}?{name}={encoded}")
                assert answer.status < 500, (row.name, name, what, answer.json)
                tried += 1
            for name, many in texts(parts.body) if parts.body else ():
                body = filled(parts.body, known) | {name: [hostile] if many else hostile}
                answer = await ask(anna, method, path.format(**places), body)
                assert answer.status < 500, (row.name, name, what, answer.json)
                tried += 1
    assert tried > 300


async def ask(person: Person, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
    raw = None if body is None else json.dumps(body).encode()
    return await person.request(method, path, raw=raw)


async def test_no_text_in_any_request_of_the_socket_is_a_failure_of_the_server(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    known = {"room": room, "client_id": "c", "body": "x", "kind": "typing", "token": "x", "users": [], "rooms": [], "seq": 1}
    socket = close_later(await anna.connect())
    for name, struct in ((name, row.request) for name, row in by_event(OPERATIONS).items()):
        for field, many in texts(struct):
            for what, hostile in HOSTILE.items():
                if what.startswith(("half", "other half")):
                    continue  # the Python client cannot write one
                request = filled(struct, known) | {field: [hostile] if many else hostile}
                answer = await socket.client.call(name, request, timeout=5)
                code = answer.get("error", {}).get("code", "ok")
                assert code not in {"internal", "unavailable"}, (name, field, what)


@pytest.mark.parametrize("what", NAMES)
async def test_a_name_that_hides_or_steers_is_refused_wherever_it_is_given(api: Api, what: str) -> None:
    hostile = HOSTILE[what]
    body = {"username": unique(), "password": PASSWORD, "display_name": hostile}
    assert (await api.request("POST", "/auth/register", raw=json.dumps(body).encode())).status == 400
    anna = await api.register()
    made = await ask(anna, "POST", "/rooms", {"kind": "public", "name": hostile})
    assert made.status == 400
    assert (await ask(anna, "PATCH", "/me/presence", {"text": hostile})).status == 400


async def test_what_shows_nothing_is_no_message_on_either_surface(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    for nothing in ("\u200b" * 15, "\u2800", "\u3164", "\ufe0f", "\u00ad", " ", "\n\n", "\U000e0061"):
        body = {"client_id": unique(), "body": nothing}
        answer = await ask(anna, "POST", f"/rooms/{room}/messages", body)
        assert (answer.status, answer.code) == (400, "invalid_request")
        acked = await socket.client.call("message.send", {"room": room, **body}, timeout=5)
        assert acked["error"]["field"] == "$.body"


async def test_names_come_back_prepared_and_emoji_and_scripts_as_they_were(api: Api) -> None:
    body = {"username": unique(), "password": PASSWORD, "display_name": "  Zoe\u0308 \u00a0 Bell "}
    made = await api.request("POST", "/auth/register", body, expect=201)
    assert made.json["user"]["display_name"] == "Zo\u00eb Bell"
    anna = await api.register()
    for name in (
        "\U0001f469\u200d\U0001f469\u200d\U0001f467",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0e19\u0e49\u0e33",
    ):
        made = await ask(anna, "POST", "/rooms", {"kind": "private", "name": name})
        assert (made.status, made.json["name"]) == (201, name)
