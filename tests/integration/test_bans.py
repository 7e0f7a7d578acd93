"""Bans: who is banned is out at once and stays out, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from realtime.model import Role, RoomId, UserId
from realtime.rooms.store import RoomStore
from tests.client import Refused
from tests.integration.test_rooms import UNKNOWN, people

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Api, Person, Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]


async def code(person: Person, method: str, path: str, json: object = None) -> str:
    answer = await person.request(method, path, json)
    return answer.code if answer.status >= 400 else str(answer.status)


async def test_who_is_banned_is_out_and_comes_back_only_when_the_ban_is_lifted(api: Api, close_later: Keep) -> None:
    anna, bert, carl = await people(api, 3)
    room = await anna.room("public", members=[bert, carl])
    phone, desk, other = [close_later(await one.connect()) for one in (bert, bert, carl)]
    await phone.subscribe(room)
    await other.subscribe(room)
    answer = await anna.request("PUT", f"/rooms/{room}/bans/{bert.id}", expect=201)
    assert (answer.json["user"]["id"], answer.json["by"]) == (bert.id, anna.id)
    assert await code(anna, "PUT", f"/rooms/{room}/bans/{bert.id}") == "200", "again is harmless"
    await anna.send(room, "after")
    for socket in (phone, desk):
        await socket.wait_for("room.removed")
        assert socket.payloads("room.removed")[0] == {"room": room, "reason": "banned"}
    await other.wait_events(room, 2)
    [event] = other.payloads("member.banned")
    assert (event["user"], event["actor"], event["at"]) == (bert.id, anna.id, answer.json["at"])
    assert phone.events(room) == []
    assert (await anna.get(f"/rooms/{room}"))["member_count"] == 2
    assert await code(bert, "POST", f"/rooms/{room}/join") == "banned"
    assert await code(anna, "POST", f"/rooms/{room}/members", {"user": bert.id}) == "banned"
    assert await code(bert, "GET", f"/rooms/{room}/messages") == "not_a_member"
    with pytest.raises(Refused, match="not_a_member"):
        await phone.send(room)
    assert (await phone.subscribe(room))["error"]["code"] == "not_a_member"
    assert [one["user"]["id"] for one in (await anna.get(f"/rooms/{room}/bans"))["bans"]] == [bert.id]
    await anna.request("DELETE", f"/rooms/{room}/bans/{bert.id}", expect=204)
    assert await code(anna, "DELETE", f"/rooms/{room}/bans/{bert.id}") == "ban_not_found"
    assert await code(anna, "GET", f"/rooms/{room}/bans/{bert.id}") == "ban_not_found"
    await bert.request("POST", f"/rooms/{room}/join", expect=200)
    kinds = [event["kind"] for event in (await bert.get(f"/rooms/{room}/events"))["events"]]
    assert kinds == ["member.banned", "message.created", "member.unbanned", "member.joined"]


async def test_strangers_are_banned_before_they_come_and_are_not_told(api: Api, close_later: Keep) -> None:
    anna, bert = await people(api, 2)
    room = await anna.room("private")
    socket = close_later(await bert.connect())
    await anna.request("PUT", f"/rooms/{room}/bans/{bert.id}", expect=201)
    assert (await anna.get(f"/rooms/{room}"))["member_count"] == 1
    assert await code(bert, "GET", f"/rooms/{room}") == "room_not_found"
    assert await code(anna, "POST", f"/rooms/{room}/members", {"user": bert.id}) == "banned"
    await bert.room("private", "Another")
    await socket.wait_for("room.added")
    assert "room.removed" not in socket.names, "a private room is none of their business"


async def test_bans_follow_the_ranks(api: Api) -> None:
    anna, bert, carl, dora = await people(api, 4)
    room = await anna.room("public", members=[carl])
    await anna.request("POST", f"/rooms/{room}/members", {"user": bert.id, "role": "admin"}, expect=201)
    direct = (await anna.request("POST", "/rooms", {"kind": "direct", "members": [bert.id]})).json["id"]
    for person, method, path, expected in (
        (carl, "PUT", f"/rooms/{room}/bans/{dora.id}", "forbidden"),
        (carl, "GET", f"/rooms/{room}/bans", "forbidden"),
        (bert, "PUT", f"/rooms/{room}/bans/{anna.id}", "forbidden"),
        (bert, "PUT", f"/rooms/{room}/bans/{bert.id}", "forbidden"),
        (dora, "PUT", f"/rooms/{room}/bans/{carl.id}", "not_a_member"),
        (dora, "GET", f"/rooms/{room}/bans", "not_a_member"),
        (bert, "PUT", f"/rooms/{room}/bans/{UNKNOWN}", "user_not_found"),
        (anna, "PUT", f"/rooms/{direct}/bans/{bert.id}", "direct_room_fixed"),
        (dora, "PUT", f"/rooms/{direct}/bans/{bert.id}", "room_not_found"),
        (bert, "PUT", f"/rooms/{room}/bans/{carl.id}", "201"),
        (bert, "GET", f"/rooms/{room}/bans/{carl.id}", "200"),
        (anna, "PUT", f"/rooms/{room}/bans/{bert.id}", "201"),
    ):
        assert await code(person, method, path) == expected, path


async def test_a_join_that_waits_for_a_ban_to_commit_is_refused(nodes: Nodes) -> None:
    """A statement that waits for the room's lock sees, in its snapshot, the time before."""
    api = await nodes.start()
    anna, bert = await people(api, 2)
    room = await anna.room("public")
    store = RoomStore(nodes.running[0].database)
    async with store.locked(RoomId(room), UserId(anna.id), UserId(bert.id)) as locked:
        assert locked is not None
        joining = asyncio.create_task(code(bert, "POST", f"/rooms/{room}/join"))
        await waiting_for_the_lock(nodes)
        await locked.ban()
    assert await joining == "banned"
    assert (await anna.get(f"/rooms/{room}"))["member_count"] == 1


async def test_what_a_member_asks_while_they_are_removed_is_judged_by_what_they_are_then(nodes: Nodes) -> None:
    api = await nodes.start()
    anna, bert, carl = await people(api, 3)
    room = await anna.room("private", members=[carl])
    await anna.request("POST", f"/rooms/{room}/members", {"user": bert.id, "role": "admin"}, expect=201)
    store = RoomStore(nodes.running[0].database)
    async with store.locked(RoomId(room), UserId(anna.id), UserId(bert.id)) as locked:
        assert locked is not None
        assert locked.user_role is Role.ADMIN
        removing = asyncio.create_task(code(bert, "DELETE", f"/rooms/{room}/members/{carl.id}"))
        leaving = asyncio.create_task(code(bert, "POST", f"/rooms/{room}/leave"))
        again = asyncio.create_task(code(anna, "DELETE", f"/rooms/{room}/members/{bert.id}"))
        await waiting_for_the_lock(nodes, 3)
        await locked.delete()
    assert (await removing, await leaving, await again) == ("room_not_found", "room_not_found", "member_not_found")
    assert (await anna.get(f"/rooms/{room}"))["member_count"] == 2
    kinds = [event["kind"] for event in (await anna.get(f"/rooms/{room}/events"))["events"]]
    assert kinds == ["member.joined", "member.removed"]


async def waiting_for_the_lock(nodes: Nodes, count: int = 1) -> None:
    """Return when so many statements of this database wait for a lock."""
    sql = "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(5):
        while True:
            row = await nodes.running[0].database.fetchrow(sql)
            assert row is not None
            if row["n"] >= count:
                return
            await asyncio.sleep(0.01)
