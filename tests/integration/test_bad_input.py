"""Whatever comes in: a stable code, nothing half-written, nobody else disturbed, and nothing of it in the logs."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from realtime.node.operations import OPERATIONS
from realtime.operations import by_event
from tests import contract
from tests.client import PASSWORD, Api, Person, unique
from tests.conformance import wire
from tests.conformance.conftest import close_raw_sockets  # noqa: F401 - a fixture that every test here uses
from tests.conformance.wire import Closed, RawSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client import Answer
    from tests.conftest import Nodes

SECRET = "xyzzy-what-people-write"


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """Fail for anything secret in a log record, or for a warning: what clients do wrong is no fault of the server.

    Yields:
        Secrets; a test adds its own.
    """
    caplog.set_level(logging.DEBUG)
    secrets = [SECRET, PASSWORD]
    yield secrets
    records = caplog.get_records("call")
    told = "\n".join(caplog.handler.format(record) + str(vars(record)) for record in records)
    assert [secret for secret in secrets if secret in told] == []
    warnings = [record for record in records if record.levelno >= logging.WARNING]
    # Of the engines it is the machine that speaks: a moment in which it was busy elsewhere.
    assert [one.getMessage() for one in warnings if one.name not in ("realtime.bus.bus", "realtime.store.pool")] == []


@pytest.fixture
async def anna(api: Api, quiet: list[str]) -> Person:
    person = await api.register()
    quiet += [person.token, person.token.rpartition(".")[2], person.refresh_token]
    return person


@pytest.fixture
async def room(anna: Person) -> str:
    return await anna.room()


class Talk:
    """A connection that is opened again when the server has closed it."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._socket: RawSocket | None = None
        self._number = 0

    async def socket(self) -> RawSocket:
        if self._socket is None:
            self._socket = await RawSocket.open(self._person.api.url)
            await self._socket.enter(self._person.token)
        return self._socket

    async def say(self, name: str, argument: bytes) -> str | int:
        """Send a request; return `ok`, the code of its refusal, or the code with which the connection was closed."""
        socket = await self.socket()
        self._number += 1
        socket.write(wire.frame(b'42%d["%b",%b]' % (self._number, name.encode(), argument)))
        try:
            answer = await socket.ack(self._number)
        except Closed as closed:
            self._socket = None
            return closed.code or 0
        contract.check_ack(name, answer)
        return "ok" if answer["ok"] else str(answer["error"]["code"])

    async def is_alive(self) -> bool:
        return await (await self.socket()).is_alive()


async def head(person: Person, room: str) -> int:
    return int((await person.get(f"/rooms/{room}"))["head_seq"])


async def post(person: Person, path: str, raw: bytes) -> str:
    """Send bytes over REST; return `ok` or the code."""
    answer = await person.request("POST", path, raw=raw)
    return "ok" if answer.status < 300 else answer.code


# -- the text of a message, over both surfaces ----------------------------------------------------

TEXT = SECRET.encode()
NOT_ALLOWED: dict[str, bytes] = {
    "a number": b"5",
    "a float": b"1.5",
    "a float without end": b"1e400",
    "a number of 400 digits": b"1" + b"0" * 400,
    "a number of 5,000 digits": b"7" * 5000,
    "null": b"null",
    "true": b"true",
    "an array": b'["%b"]' % TEXT,
    "an object": b'{"%b":1}' % TEXT,
    "no text": b'""',
    "white space": b'" \\n\\t "',
    "white space of Unicode": b'"\xe2\x80\xa8\\u0085\\u00a0"',
    "NUL": b'"%b\\u0000"' % TEXT,
    "a control character": b'"%b\\u0001"' % TEXT,
    "an escape sequence": b'"%b\\u001b[2J"' % TEXT,
    "DEL": b'"%b\\u007f"' % TEXT,
    "too long": b'"%b"' % (TEXT * 400),
    "an unknown field": b'"x","%b":1' % TEXT,
    "a field of the answer": b'"x","seq":1',
    "somebody else as the author": b'"x","author":"%b"' % TEXT,
}
NOT_JSON: dict[str, bytes] = {
    "a bare control character": b'"a\x00b"',
    "a bare line end": b'"a\nb"',
    "a comma too much": b'"%b",' % TEXT,
    "a comment": b'"x" /*%b*/' % TEXT,
    "single quotes": b"'x'",
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "a leading zero": b"01",
    "a plus": b"+1",
    "half a number": b"-",
    "half a word": b"tru",
    "an unknown escape": b'"\\x41"',
    "half an escape": b'"\\u00"',
    "two values": b'"a" "b"',
    "an end too much": b'"a"}',
}
NOT_UTF8: dict[str, bytes] = {
    "a byte that is none": b'"%b\xff"' % TEXT,
    "a raw surrogate": b'"\xed\xa0\x80"',
    "an overlong NUL": b'"\xc0\x80"',
    "beyond Unicode": b'"\xf4\x90\x80\x80"',
    "half a character": b'"\xe2\x82"',
}
SURROGATES: dict[str, bytes] = {
    "a high one alone": b'"\\ud83c"',
    "a low one alone": b'"\\udf88"',
    "in the wrong order": b'"\\udf88\\ud83c"',
    "before a letter": b'"\\ud83cx"',
}
DEEP: dict[str, bytes] = {
    "1,000 arrays": b"[" * 1000 + b"]" * 1000,
    "10,000 arrays": b"[" * 10_000 + b"]" * 10_000,
    "1,000 objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
}
ALLOWED: dict[str, bytes] = {
    "a pair of surrogates": b'"\\ud83c\\udf88"',
    "four bytes": "\N{BALLOON}".encode().join((b'"', b'"')),
    "no characters of Unicode beside one that shows": b'"a\\ufffe\\uffff"',
    "the last of equal keys": b'"first","body":"last"',
    "tab and line ends": b'"a\\t\\r\\nb"',
    "as long as may be": b'"' + "\N{BALLOON}".encode() * 8000 + b'"',
}


async def test_rest_refuses_what_is_no_message_with_its_code_and_writes_nothing(anna: Person, room: str) -> None:
    before = await head(anna, room)
    refused = {
        "invalid_request": NOT_ALLOWED | DEEP,
        "invalid_json": NOT_JSON | NOT_UTF8 | SURROGATES,
    }
    for code, cases in refused.items():
        for name, text in cases.items():
            found = await post(anna, f"/rooms/{room}/messages", b'{"client_id":"%b","body":%b}' % (unique().encode(), text))
            assert found == code, name
    assert await head(anna, room) == before
    assert await anna.send(room) == before + 1


async def test_the_socket_refuses_what_is_no_message_by_its_ack_and_goes_on(anna: Person, room: str) -> None:
    before = await head(anna, room)
    talk = Talk(anna)
    connection = await talk.socket()
    for name, text in NOT_ALLOWED.items():
        argument = b'{"room":"%b","client_id":"%b","body":%b}' % (room.encode(), unique().encode(), text)
        assert await talk.say("message.send", argument) == "invalid_request", name
    assert await head(anna, room) == before
    assert await talk.is_alive() and await talk.socket() is connection
    assert await anna.send(room) == before + 1


async def test_the_socket_refuses_what_is_no_json_by_its_ack_and_goes_on(anna: Person, room: str) -> None:
    before = await head(anna, room)
    talk = Talk(anna)
    connection = await talk.socket()
    for name, text in NOT_JSON.items():
        argument = b'{"room":"%b","client_id":"%b","body":%b}' % (room.encode(), unique().encode(), text)
        assert await talk.say("message.send", argument) == "invalid_json", name
    assert await head(anna, room) == before
    assert await talk.is_alive() and await talk.socket() is connection


async def test_the_socket_closes_on_what_is_no_utf8_and_lets_the_client_in_again(anna: Person, room: str) -> None:
    before = await head(anna, room)
    talk = Talk(anna)
    for name, text in NOT_UTF8.items():
        argument = b'{"room":"%b","client_id":"%b","body":%b}' % (room.encode(), unique().encode(), text)
        assert await talk.say("message.send", argument) == 1007, name
    assert await head(anna, room) == before
    assert await talk.is_alive()


@pytest.mark.parametrize("name", SURROGATES)
async def test_half_an_emoji_is_refused_by_its_ack_and_the_connection_goes_on(anna: Person, room: str, name: str) -> None:
    # JSON.stringify writes it like this when an app cuts a text in the middle of a pair: no reason to lose the connection,
    # with which the app would only come back and try again.
    before = await head(anna, room)
    talk = Talk(anna)
    connection = await talk.socket()
    for argument in (
        b'{"room":"%b","client_id":"c","body":%b}' % (room.encode(), SURROGATES[name]),
        b'{"room":%b,"client_id":"c","body":"x"}' % SURROGATES[name],
        b"{%b:1}" % SURROGATES[name],
    ):
        assert await talk.say("message.send", argument) in ("invalid_json", "invalid_request")
    assert await talk.is_alive() and await talk.socket() is connection
    assert await head(anna, room) == before


@pytest.mark.parametrize("name", DEEP)
async def test_what_is_too_deep_is_refused_by_its_ack_and_the_connection_goes_on(anna: Person, room: str, name: str) -> None:
    talk = Talk(anna)
    connection = await talk.socket()
    await talk.say("room.subscribe", b'{"rooms":[{"room":"%b"}]}' % room.encode())
    message = b'{"room":"%b","client_id":"c","body":%b}' % (room.encode(), DEEP[name])
    signal = b'{"room":"%b","kind":"typing","data":%b}' % (room.encode(), DEEP[name])
    assert await talk.say("message.send", message) in ("invalid_json", "invalid_request")
    assert await talk.say("signal", signal) in ("invalid_json", "invalid_request")
    assert await talk.is_alive() and await talk.socket() is connection


async def test_unusual_texts_that_are_allowed_come_back_as_they_were(anna: Person, room: str) -> None:
    talk = Talk(anna)
    expected = []
    for name, text in ALLOWED.items():
        message = b'"client_id":"%b","body":%b'
        assert await post(anna, f"/rooms/{room}/messages", b"{%b}" % (message % (unique().encode(), text))) == "ok", name
        again = b'{"room":"%b",%b}' % (room.encode(), message % (unique().encode(), text))
        assert await talk.say("message.send", again) == "ok", name
        expected += [json.loads(b'{"body":%b}' % text)["body"]] * 2
    page = await anna.get(f"/rooms/{room}/messages?limit=200")
    assert [message["body"] for message in page["messages"]] == expected


# -- the other fields -----------------------------------------------------------------------------


async def test_no_field_takes_what_is_not_its_own(anna: Person, room: str) -> None:
    sent = await anna.send(room, "first")
    before = await head(anna, room)
    talk = Talk(anna)
    connection = await talk.socket()
    numbers = ["1.5", "1e-1", '"1"', "-1", "true", "null", "9007199254740992", str(2**63), str(2**64), "1" + "0" * 400]
    ids = ['""', '"a b"', '"ä"', '"a\\n"', '"\\u0000"', "5", '"' + "x" * 129 + '"', "null", '["c"]']
    rooms = ["5", "null", '""', '"' + "x" * 65 + '"', "[]", f'["{room}"]']
    cases: list[tuple[str, str]] = [
        *(("message.edit", f'{{"room":"{room}","seq":{seq},"body":"x"}}') for seq in [*numbers, "0"]),
        *(("message.delete", f'{{"room":"{room}","seq":{seq}}}') for seq in [*numbers, "0"]),
        *(("room.subscribe", f'{{"rooms":[{{"room":"{room}","since":{since}}}]}}') for since in numbers if since != "null"),
        *(("message.send", f'{{"room":"{room}","client_id":{client_id},"body":"x"}}') for client_id in ids),
        *(("message.send", f'{{"room":{other},"client_id":"c","body":"x"}}') for other in rooms),
        *(
            ("signal", f'{{"room":"{room}","kind":{kind}}}')
            for kind in ['""', '"A"', '"a b"', '"a\\n"', "5", '"' + "a" * 33 + '"']
        ),
        ("room.subscribe", '{"rooms":[]}'),
        ("room.subscribe", f'{{"rooms":["{room}"]}}'),
        ("room.subscribe", f'{{"rooms":{{"room":"{room}"}}}}'),
        ("room.subscribe", '{"rooms":[' + ",".join(['{"room":"x"}'] * 1001) + "]}"),
        ("room.unsubscribe", '{"rooms":[5]}'),
        ("presence.watch", '{"users":"x"}'),
        ("presence.watch", '{"users":[""]}'),
        ("presence.watch", '{"users":[' + ",".join(['"x"'] * 201) + "]}"),
        ("auth.refresh", '{"token":""}'),
        ("auth.refresh", '{"token":"' + "x" * 4097 + '"}'),
    ]
    for name, argument in cases:
        assert await talk.say(name, argument.encode()) == "invalid_request", (name, argument[:120])
    assert await talk.is_alive() and await talk.socket() is connection
    assert await head(anna, room) == before
    page = await anna.get(f"/rooms/{room}/messages")
    assert [(message["seq"], message["body"]) for message in page["messages"]] == [(sent, "first")]


async def test_every_request_of_the_socket_refuses_every_wrong_shape(anna: Person) -> None:
    talk = Talk(anna)
    connection = await talk.socket()
    shapes = [b"{}", b"[]", b"null", b"5", b'"%b"' % TEXT, b"true", b'{"%b":1}' % TEXT, b'{"":null}', b'{"__proto__":{"x":1}}']
    for name in by_event(OPERATIONS):
        for shape in shapes:
            assert await talk.say(name, shape) == "invalid_request", (name, shape)
    assert await talk.socket() is connection


async def test_every_route_refuses_every_wrong_shape_of_a_body(anna: Person, room: str, nodes: Nodes) -> None:
    await nodes.running[0].administration.change(None, anna.id, admin=True)
    before = await head(anna, room)
    shapes = [b"[]", b"null", b"5", b'"%b"' % TEXT, b'{"%b":1}' % TEXT, b"{", b"\xff", b'{"a":"\\ud800"}', b"[" * 20_000]
    for route in (row.rest for row in OPERATIONS if row.rest is not None):
        if route.method not in ("POST", "PATCH", "PUT"):
            continue
        path = route.path.format(room=room, user=anna.id, seq=1)
        for shape in shapes:
            answer = await anna.request(route.method, path, raw=shape)
            assert (answer.status, answer.code in ("invalid_json", "invalid_request")) == (400, True), (path, shape[:20])
    assert await head(anna, room) == before
    assert (await anna.get("/me"))["id"] == anna.id, "a wrong body of a log-out ends nothing"


async def test_signal_data_is_anything_that_is_json_of_bounded_depth(anna: Person, room: str) -> None:
    talk, other = Talk(anna), Talk(anna)
    subscribe = b'{"rooms":[{"room":"%b"}]}' % room.encode()
    for one in (talk, other):
        await one.say("room.subscribe", subscribe)
    listener = await other.socket()
    good = [
        b"1e308",
        b"-0.0",
        b"1" + b"0" * 400,
        b'{"a":1,"a":2}',
        b'"\\u0000\\u001b"',
        b'{"\\u0000":null}',
        b"[" * 32 + b"]" * 32,
    ]
    for number, data in enumerate(good):
        assert await talk.say("signal", b'{"room":"%b","kind":"k%d","data":%b}' % (room.encode(), number, data)) == "ok", data
        text = await listener.text()
        payload = json.loads(text[2:])[1]
        assert (payload["kind"], payload["data"]) == (f"k{number}", json.loads(data))
    for data in (b"1e400", b"7" * 5000, b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33):
        assert await talk.say("signal", b'{"room":"%b","kind":"typing","data":%b}' % (room.encode(), data)) == "invalid_request"
    assert await talk.is_alive()


# -- sizes and numbers ----------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_and_the_next_request_works(anna: Person, room: str, api: Api) -> None:
    before = await head(anna, room)
    large = b'{"client_id":"c","body":"%b"}' % (b"x" * 200_000)
    answer = await anna.request("POST", f"/rooms/{room}/messages", raw=large)
    assert (answer.status, answer.code) == (413, "payload_too_large")
    talk = Talk(anna)
    assert await talk.say("message.send", large) == "payload_too_large"
    far_too_large = b'{"client_id":"c","body":"%b"}' % (b"x" * 5_000_000)
    assert await talk.say("message.send", far_too_large) == 1009
    assert await talk.is_alive()
    polling = wire.Polling(api.http, api.url)
    await polling.enter(anna.token)
    assert (await polling.post(b'420["message.send",%b]' % far_too_large)).status == 413
    assert await polling.is_gone()
    assert await head(anna, room) == before
    assert await anna.send(room) == before + 1


async def test_five_thousand_sends_at_once_are_all_answered_and_those_acked_are_there(
    anna: Person, room: str, nodes: Nodes
) -> None:
    before = await head(anna, room)
    socket = await RawSocket.open(anna.api.url)
    await socket.enter(anna.token)
    prefix, count = unique("c"), 5000
    raw = bytearray()
    for number in range(count):
        message = {"room": room, "client_id": f"{prefix}-{number}", "body": SECRET}
        raw += wire.frame(f"42{number}{json.dumps(['message.send', message])}".encode())
    socket.write(bytes(raw))
    answers: dict[int, Any] = {}
    while len(answers) < count:
        text = await socket.text(20)
        if text.startswith("43"):
            number_text, _, answer = text[2:].partition("[")
            assert int(number_text) not in answers
            answers[int(number_text)] = json.loads("[" + answer)[0]
    acked = {number: answer["seq"] for number, answer in answers.items() if answer["ok"]}
    refused = [answer["error"] for answer in answers.values() if not answer["ok"]]
    assert nodes.running[0].config.send_burst <= len(acked) < count
    assert {error["code"] for error in refused} == {"rate_limited"}
    assert all(error["retryable"] and error["retry_after_ms"] >= 1 for error in refused)
    assert sorted(acked.values()) == list(range(before + 1, before + len(acked) + 1))
    assert [acked[number] for number in sorted(acked)] == sorted(acked.values()), "in the order in which they were sent"
    assert await head(anna, room) == before + len(acked)
    assert await socket.is_alive()


async def test_while_one_client_floods_another_is_served(anna: Person, api: Api) -> None:
    ben = await api.register()
    socket = await RawSocket.open(api.url)
    await socket.enter(anna.token)
    socket.write(wire.frame(b'421["%b",{"x":[]}]' % (b"n" * 100)) * 5000)
    async with asyncio.timeout(3):
        assert (await ben.get("/me"))["id"] == ben.id
        assert await Talk(ben).is_alive()


# -- rooms and people that one may not see --------------------------------------------------------


async def _everything_about(person: Person, room: str, other: Person) -> list[Any]:
    """Ask for a room in every way; return the answers without the room's own name in them."""
    message = {"client_id": "c", "body": "x"}
    asked: list[Answer] = [
        await person.request("GET", f"/rooms/{room}"),
        await person.request("POST", f"/rooms/{room}/join"),
        await person.request("POST", f"/rooms/{room}/leave"),
        await person.request("GET", f"/rooms/{room}/members"),
        await person.request("POST", f"/rooms/{room}/members", {"user": person.id}),
        await person.request("PATCH", f"/rooms/{room}/members/{other.id}", {"role": "member"}),
        await person.request("DELETE", f"/rooms/{room}/members/{other.id}"),
        await person.request("POST", f"/rooms/{room}/messages", message),
        await person.request("PATCH", f"/rooms/{room}/messages/1", {"body": "x"}),
        await person.request("DELETE", f"/rooms/{room}/messages/1"),
        await person.request("GET", f"/rooms/{room}/messages"),
        await person.request("GET", f"/rooms/{room}/events"),
    ]
    socket = await RawSocket.open(person.api.url)
    await socket.enter(person.token)
    requests: list[tuple[str, dict[str, Any]]] = [
        ("message.send", {"room": room, **message}),
        ("message.edit", {"room": room, "seq": 1, "body": "x"}),
        ("message.delete", {"room": room, "seq": 1}),
        ("signal", {"room": room, "kind": "typing"}),
        ("room.subscribe", {"rooms": [{"room": room, "since": 0}]}),
        ("room.unsubscribe", {"rooms": [room]}),
    ]
    acks = [await socket.ask(number, name, payload) for number, (name, payload) in enumerate(requests)]
    told = [(answer.status, answer.json) for answer in asked]
    return [re.sub(re.escape(json.dumps(room)), "ROOM", json.dumps(one)) for one in (*told, *acks)]


async def test_rooms_of_others_are_answered_exactly_like_rooms_that_are_not(api: Api) -> None:
    ben, cleo, nosy = await api.register(), await api.register(), await api.register()
    private, direct = await ben.room("private", members=[cleo]), await ben.room("direct", members=[cleo])
    for room in (private, direct):
        await ben.send(room, SECRET)
    nowhere = "019b0000-0000-7000-8000-00000000dead"
    expected = await _everything_about(nosy, nowhere, ben)
    for room in (private, direct):
        assert await _everything_about(nosy, room, ben) == expected
    assert {json.loads(one)[1]["code"] for one in expected if one.startswith("[")} == {"room_not_found"}
    assert await head(ben, private) == 1 and await head(ben, direct) == 1
    for strange in ("x", nowhere.upper(), "%00", "..%2F..", private + "x", "%F0%9F%8E%88"):
        answer = await nosy.request("GET", f"/rooms/{strange}")
        assert answer.status == 404, strange
    found = await nosy.get("/rooms?scope=all")
    assert {private, direct} & {one["id"] for one in found["rooms"]} == set()


async def test_somebody_unknown_cannot_be_added_or_watched_into_being(anna: Person, room: str) -> None:
    before = await head(anna, room)
    for user in ("x", "019b0000-0000-7000-8000-00000000dead", "\x00", "ä"):
        answer = await anna.request("POST", f"/rooms/{room}/members", {"user": user})
        assert (answer.status, answer.code) == (404, "user_not_found"), user
        answer = await anna.request("POST", "/rooms", {"kind": "private", "name": "n", "members": [user]})
        assert (answer.status, answer.code) == (404, "user_not_found"), user
    watched = json.dumps({"users": ["x", "019b0000-0000-7000-8000-00000000dead"]}).encode()
    assert await Talk(anna).say("presence.watch", watched) == "ok"
    assert await head(anna, room) == before


# -- tokens ---------------------------------------------------------------------------------------


async def test_a_bad_token_on_an_open_connection_is_refused_and_leaves_it_as_it_was(
    anna: Person, api: Api, nodes: Nodes, quiet: list[str]
) -> None:
    ben = await api.register()
    bad = ["x", "a.b.c", anna.token[:-2], anna.token + "x", "\x00", "ä", "\N{BALLOON}" * 100, ben.token]
    quiet += [token for token in bad if len(token) > 20]
    talk = Talk(anna)
    connection = await talk.socket()
    for token in bad:
        assert await talk.say("auth.refresh", json.dumps({"token": token}).encode()) == "token_invalid", token
    assert await talk.is_alive() and await talk.socket() is connection
    assert await talk.say("auth.refresh", json.dumps({"token": anna.token}).encode()) == "ok"
    assert len(nodes.running[0].hub) == 1


async def test_passwords_and_tokens_that_are_refused_are_not_logged(api: Api, quiet: list[str]) -> None:
    password = "hunter2-" + unique()
    quiet.append(password)
    name = unique()
    for body in ({"username": name, "password": password, "x": 1}, {"username": "\x00", "password": password},
                 {"username": name, "password": password + "x" * 300}):  # fmt: skip
        assert (await api.request("POST", "/auth/register", body)).status == 400
    assert (await api.request("POST", "/auth/login", {"username": name, "password": password})).code == "invalid_credentials"
    for password in (
        "\x00\x01 night\x02 owl\x03 tin",
        "l'été où je n'ai rien dit à personne",
        "\N{BALLOON} over the \N{ROCKET} and 9 tins",
    ):
        person = await api.register(unique(), password)
        answer = await api.request("POST", "/auth/login", {"username": person.username, "password": password})
        assert answer.status == 200, "a password may be any text"
