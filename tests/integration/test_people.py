"""Blocks, who may add one to rooms, and direct rooms that are closed: over REST, sockets and retries."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Api, Person, Socket

    Keep = Callable[[Socket], Socket]


_numbers = itertools.count()


async def people(api: Api, count: int) -> list[Person]:
    return [await api.register() for _ in range(count)]


async def code(person: Person, method: str, path: str, body: Any = None) -> str:
    """Return the code of a refusal, or the empty string."""
    answer = await person.request(method, path, body)
    return str(answer.json["code"]) if answer.status >= 400 else ""


async def direct(one: Person, other: Person) -> str:
    return str((await one.request("POST", "/rooms", {"kind": "direct", "members": [other.id]})).json["id"])


async def write(person: Person, room: str, body: str = "hi", client_id: str = "") -> str:
    client_id = client_id or f"c{next(_numbers)}"
    return await code(person, "POST", f"/rooms/{room}/messages", {"client_id": client_id, "body": body})


async def test_a_block_is_put_listed_and_lifted(api: Api) -> None:
    anna, bert, carl = await people(api, 3)
    assert await code(anna, "GET", f"/me/blocks/{bert.id}") == "block_not_found"
    for _ in range(2):
        await anna.request("PUT", f"/me/blocks/{bert.id}", expect=204)
    await anna.request("PUT", f"/me/blocks/{carl.id}", expect=204)
    blocks = (await anna.get("/me/blocks"))["blocks"]
    assert [one["user"]["id"] for one in blocks] == sorted([bert.id, carl.id])
    page = await anna.get("/me/blocks?limit=1")
    assert page["has_more"] and len(page["blocks"]) == 1
    assert (await anna.get(f"/me/blocks?after={page['blocks'][0]['user']['id']}"))["blocks"] == blocks[1:]
    assert (await anna.get(f"/me/blocks/{bert.id}"))["user"]["id"] == bert.id
    await anna.request("DELETE", f"/me/blocks/{bert.id}", expect=204)
    assert await code(anna, "DELETE", f"/me/blocks/{bert.id}") == "block_not_found"
    assert await code(anna, "PUT", f"/me/blocks/{anna.id}") == "invalid_request"
    assert await code(anna, "PUT", "/me/blocks/nobody") == "user_not_found"
    assert await code(anna, "PUT", "/me/blocks/019b0000-0000-7000-8000-000000000000") == "user_not_found"
    assert (await bert.get("/me/blocks"))["blocks"] == []


async def test_who_is_blocked_opens_no_room_with_the_blocker_and_adds_them_to_none(api: Api) -> None:
    anna, bert, carl = await people(api, 3)
    own = await bert.room("private")
    await anna.request("PUT", f"/me/blocks/{bert.id}", expect=204)
    for kind in ("direct", "private", "public"):
        body = {"kind": kind, "members": [anna.id], **({} if kind == "direct" else {"name": "r"})}
        assert await code(bert, "POST", "/rooms", body) == "not_addable"
    assert await code(bert, "POST", "/rooms", {"kind": "private", "name": "r", "members": [carl.id, anna.id]}) == "not_addable"
    assert await code(bert, "POST", f"/rooms/{own}/members", {"user": anna.id}) == "not_addable"
    assert (await anna.get("/rooms?scope=mine"))["rooms"] == []
    assert (await carl.get("/rooms?scope=mine"))["rooms"] == [], "nothing is half done"
    await anna.request("DELETE", f"/me/blocks/{bert.id}", expect=204)
    assert await code(bert, "POST", f"/rooms/{own}/members", {"user": anna.id}) == ""


async def test_who_is_blocked_does_not_write_in_the_direct_room(api: Api, close_later: Keep) -> None:
    anna, bert = await people(api, 2)
    room = await direct(bert, anna)
    socket = close_later(await bert.connect())
    assert await write(bert, room, "before", "c1") == ""
    await anna.request("PUT", f"/me/blocks/{bert.id}", expect=204)
    assert await write(bert, room, "again") == "room_closed"
    refused = await socket.ask("message.send", {"room": room, "client_id": "s", "body": "x"})
    assert refused["error"]["code"] == "room_closed" and not refused["error"]["retryable"]
    assert await code(bert, "PATCH", f"/rooms/{room}/messages/1", {"body": "worse"}) == "room_closed"
    assert await write(bert, room, "before", "c1") == "", "a retry of what was accepted is a duplicate"
    assert await write(anna, room, "the blocker may") == ""
    assert await code(bert, "DELETE", f"/rooms/{room}/messages/1") == ""
    assert (await bert.get(f"/rooms/{room}/messages"))["head_seq"] == 3
    await anna.request("DELETE", f"/me/blocks/{bert.id}", expect=204)
    assert await write(bert, room, "again") == ""


async def test_a_block_that_was_there_first_holds_in_a_direct_room_that_the_blocker_opens(api: Api) -> None:
    anna, bert = await people(api, 2)
    await anna.request("PUT", f"/me/blocks/{bert.id}", expect=204)
    room = await direct(anna, bert)
    assert await write(anna, room) == ""
    assert await write(bert, room) == "room_closed"


async def test_a_block_and_a_direct_room_at_the_same_moment_see_each_other(api: Api) -> None:
    for _ in range(8):
        anna, bert = await people(api, 2)
        body = {"kind": "direct", "members": [anna.id]}
        made, _ = await asyncio.gather(
            bert.request("POST", "/rooms", body), anna.request("PUT", f"/me/blocks/{bert.id}", expect=204)
        )
        if made.status == 201:
            assert await write(bert, str(made.json["id"])) == "room_closed"
        else:
            assert made.json["code"] == "not_addable"


@pytest.mark.parametrize(("may_add", "stranger", "acquaintance"), [("everybody", "", ""), ("shared_rooms", "not_addable", ""),
                                                                 ("nobody", "not_addable", "not_addable")])  # fmt: skip
async def test_people_say_who_may_add_them(api: Api, may_add: str, stranger: str, acquaintance: str) -> None:
    anna, bert, carl = await people(api, 3)
    town = await bert.room("public")
    await anna.request("POST", f"/rooms/{town}/join", expect=200)
    assert await anna.get("/me/settings") == {"may_add": "everybody"}
    assert (await anna.request("PATCH", "/me/settings", {"may_add": may_add}, expect=200)).json == {"may_add": may_add}
    assert await anna.get("/me/settings") == {"may_add": may_add}
    for person, expected in ((carl, stranger), (bert, acquaintance)):
        room = await person.room("private")
        assert await code(person, "POST", f"/rooms/{room}/members", {"user": anna.id}) == expected
        assert await code(person, "POST", "/rooms", {"kind": "direct", "members": [anna.id]}) == expected
    assert await code(anna, "PATCH", "/me/settings", {"may_add": "friends"}) == "invalid_request"
    await direct(anna, carl)  # their own doing


async def test_either_of_two_closes_their_direct_room_and_opens_it_again(api: Api) -> None:
    anna, bert = await people(api, 2)
    room = await direct(anna, bert)
    assert await write(anna, room, "before") == ""
    for one in (anna, bert):
        for _ in range(2):
            await one.request("PUT", f"/rooms/{room}/closed", expect=204)
        assert [await write(anna, room), await write(bert, room)] == ["room_closed"] * 2
    await bert.request("DELETE", f"/rooms/{room}/closed", expect=204)
    assert [await write(anna, room), await write(bert, room)] == ["room_closed"] * 2, "the other one has closed it too"
    assert [one["body"] for one in (await bert.get(f"/rooms/{room}/messages"))["messages"]] == ["before"]
    assert await direct(bert, anna) == room
    await anna.request("DELETE", f"/rooms/{room}/closed", expect=204)
    assert [await write(anna, room), await write(bert, room)] == ["", ""]


async def test_a_block_holds_when_the_room_is_opened_again(api: Api) -> None:
    anna, bert = await people(api, 2)
    room = await direct(anna, bert)
    await anna.request("PUT", f"/rooms/{room}/closed", expect=204)
    await anna.request("PUT", f"/me/blocks/{bert.id}", expect=204)
    await anna.request("DELETE", f"/rooms/{room}/closed", expect=204)
    assert [await write(anna, room), await write(bert, room)] == ["", "room_closed"]


async def test_other_rooms_are_not_closed_and_strangers_close_none(api: Api) -> None:
    anna, bert, carl = await people(api, 3)
    room, town = await direct(anna, bert), await anna.room("public")
    assert await code(anna, "PUT", f"/rooms/{town}/closed") == "invalid_request"
    assert await code(carl, "PUT", f"/rooms/{room}/closed") == "room_not_found"
    assert await code(carl, "DELETE", f"/rooms/{room}/closed") == "room_not_found"
    assert await write(anna, room) == ""
