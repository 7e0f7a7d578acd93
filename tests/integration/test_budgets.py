"""What one user may write: too much is refused with a stable code, over REST and sockets, and hits nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Api, Person, Socket
    from tests.conftest import Nodes


async def refused(person: Person, method: str, path: str, status: int, body: Any = None) -> dict[str, Any]:
    found: dict[str, Any] = (await person.request(method, path, body, expect=status)).json
    return found


async def test_joining_and_leaving_over_and_over_is_limited_in_each_room(nodes: Nodes) -> None:
    api = await nodes.start(rejoins_burst=4)
    anna, bert = await api.register(), await api.register()
    town, other = [await anna.room("public") for _ in range(2)]
    for _ in range(2):
        await bert.request("POST", f"/rooms/{town}/join", expect=200)
        await bert.request("POST", f"/rooms/{town}/leave", expect=204)
    said = await refused(bert, "POST", f"/rooms/{town}/join", 429)
    assert said["code"] == "rate_limited" and said["retry_after_ms"] > 0
    await bert.request("POST", f"/rooms/{other}/join", expect=200)
    assert (await anna.get(f"/rooms/{town}"))["head_seq"] == 4


async def test_rooms_and_the_members_that_come_with_them_are_limited(nodes: Nodes) -> None:
    api = await nodes.start(rooms_burst=3, memberships_burst=5, memberships_per_min=1)
    anna, *others = [await api.register() for _ in range(5)]
    everybody = [one.id for one in others]
    for _ in range(2):
        await anna.request("POST", "/rooms", {"kind": "private", "name": "r", "members": everybody}, expect=201)
    said = await refused(anna, "POST", "/rooms", 429, {"kind": "private", "name": "r", "members": everybody})
    assert said["code"] == "rate_limited" and said["retry_after_ms"] > 60_000
    await others[0].request("POST", "/rooms", {"kind": "private", "name": "r"}, expect=201)


async def test_a_direct_room_that_is_there_costs_nothing(nodes: Nodes) -> None:
    api = await nodes.start(rooms_burst=2)
    anna, bert = await api.register(), await api.register()
    body = {"kind": "direct", "members": [bert.id]}
    await anna.request("POST", "/rooms", body, expect=201)
    for _ in range(5):
        await anna.request("POST", "/rooms", body, expect=200)


async def test_a_user_has_so_many_rooms_and_owns_so_many(nodes: Nodes) -> None:
    api = await nodes.start(rooms_per_user=3, rooms_owned_per_user=2)
    anna, bert = await api.register(), await api.register()
    rooms = [await anna.room("public") for _ in range(2)]
    said = await refused(anna, "POST", "/rooms", 403, {"kind": "private", "name": "one too many"})
    assert said["code"] == "quota_exceeded" and not said["retryable"]
    of_bert = [await bert.room("public") for _ in range(2)]
    await anna.request("POST", f"/rooms/{of_bert[0]}/join", expect=200)
    assert (await refused(anna, "POST", f"/rooms/{of_bert[1]}/join", 403))["code"] == "quota_exceeded"
    body = {"user": anna.id, "role": "member"}
    assert (await refused(bert, "POST", f"/rooms/{of_bert[1]}/members", 403, body))["code"] == "quota_exceeded"
    await bert.request("POST", f"/rooms/{rooms[0]}/join", expect=200)
    body = {"role": "owner"}
    assert (await refused(anna, "PATCH", f"/rooms/{rooms[0]}/members/{bert.id}", 403, body))["code"] == "quota_exceeded"
    assert len((await anna.get("/rooms?scope=mine"))["rooms"]) == 3
    await anna.request("POST", f"/rooms/{of_bert[0]}/leave", expect=204)
    await anna.request("POST", f"/rooms/{of_bert[1]}/join", expect=200)


async def test_a_days_bytes_end_on_every_surface(nodes: Nodes, close_later: Callable[[Socket], Socket]) -> None:
    api: Api = await nodes.start(send_bytes_per_day=1 << 16)
    anna, bert = await api.register(), await api.register()
    room = await anna.room("public")
    await bert.request("POST", f"/rooms/{room}/join", expect=200)
    a, b = close_later(await anna.connect()), close_later(await bert.connect())
    for number in range(9):
        await a.call("message.send", {"room": room, "client_id": str(number), "body": "x" * 8000})
    said = await a.ask("message.send", {"room": room, "client_id": "more", "body": "x"})
    assert said["error"]["code"] == "quota_exceeded" and said["error"]["retry_after_ms"] > 0
    over_rest = await refused(anna, "POST", f"/rooms/{room}/messages", 403, {"client_id": "rest", "body": "x"})
    assert over_rest["code"] == "quota_exceeded"
    assert (await refused(anna, "PATCH", f"/rooms/{room}/messages/2", 403, {"body": "x"}))["code"] == "quota_exceeded"
    await anna.request("DELETE", f"/rooms/{room}/messages/2", expect=200)
    await b.call("message.send", {"room": room, "client_id": "b", "body": "others go on"})
