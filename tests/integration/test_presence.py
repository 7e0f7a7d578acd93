"""Presence over two nodes, as clients see it: what people choose, rooms, and who sees nothing any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from realtime.presence import service

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Person, Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]

SETTLED_S = 3.0


def latest(socket: Socket, user: Person) -> dict[str, Any]:
    """Return how a socket was last told that somebody is."""
    told = [one for payload in socket.payloads("presence") for one in payload["users"] if one["user"] == user.id]
    return {name: value for name, value in told[-1].items() if name != "user"} if told else {}


@pytest.fixture
async def pair(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    monkeypatch.setattr(service, "GRACE_S", 0.2)
    for _ in range(2):
        await nodes.start(presence_room_members=3)
    return nodes


async def people(pair: Nodes, close_later: Keep) -> tuple[Person, Person, Socket, Socket]:
    """Two people, each on a node of their own."""
    here, there = pair.apis
    anna, bert = await here.register(), await here.register()
    return anna, bert, close_later(await anna.connect()), close_later(await bert.at(there.url).connect())


async def test_a_choice_crosses_over_and_is_told_to_all_of_ones_own_connections(pair: Nodes, close_later: Keep) -> None:
    anna, bert, a, b = await people(pair, close_later)
    own = close_later(await anna.at(pair.apis[1].url).connect())
    await b.call("presence.watch", {"users": [anna.id]})
    chosen = await a.call("presence.set", {"status": "dnd", "text": "in a meeting", "text_expires_in_s": 3600})
    assert chosen["presence"]["status"] == "dnd"
    await b.wait(lambda: latest(b, anna).get("status") == "dnd", SETTLED_S)
    assert latest(b, anna)["text"] == "in a meeting"
    await own.wait(lambda: any(payload.get("own") == chosen["presence"] for payload in own.payloads("presence")), SETTLED_S)
    assert await anna.get("/me/presence") == chosen["presence"]
    await bert.request("PATCH", "/me/presence", {"status": "away"}, expect=200)
    await a.call("presence.watch", {"users": [bert.id]})
    await a.wait(lambda: latest(a, bert).get("status") == "away", SETTLED_S)


async def test_who_is_idle_everywhere_is_away(pair: Nodes, close_later: Keep) -> None:
    anna, _, a, b = await people(pair, close_later)
    await b.call("presence.watch", {"users": [anna.id]})
    await b.wait(lambda: latest(b, anna).get("status") == "online", SETTLED_S)
    await a.call("presence.set", {"idle": True})
    await b.wait(lambda: latest(b, anna).get("status") == "away", SETTLED_S)
    await a.call("presence.set", {"idle": False})
    await b.wait(lambda: latest(b, anna).get("status") == "online", SETTLED_S)


async def test_the_invisible_are_offline_for_others_and_their_own_settings_say_so_to_them_alone(
    pair: Nodes, close_later: Keep
) -> None:
    anna, bert, a, b = await people(pair, close_later)
    await b.call("presence.watch", {"users": [anna.id]})
    await b.wait(lambda: latest(b, anna).get("status") == "online", SETTLED_S)
    await a.call("presence.set", {"status": "invisible"})
    await b.wait(lambda: latest(b, anna).get("status") == "offline", SETTLED_S)
    told = len(b.payloads("presence"))
    await a.call("presence.set", {"text": "nobody reads this"})
    await a.close()
    again = close_later(await anna.at(pair.apis[1].url).connect())
    await again.call("presence.set", {"idle": True})
    await b.call("presence.watch", {"users": [anna.id]})
    await b.wait_for("presence", told + 1)
    assert latest(b, anna).keys() <= {"status", "last_seen_at"}
    assert latest(b, anna)["status"] == "offline"
    assert await anna.get("/me/presence") == {"status": "invisible", "text": "nobody reads this"}
    assert (await bert.get("/me/presence"))["status"] == "online"


async def test_small_rooms_show_who_large_ones_how_many_and_the_removed_see_nothing(pair: Nodes, close_later: Keep) -> None:
    anna, bert, a, b = await people(pair, close_later)
    others = [await anna.api.register() for _ in range(3)]
    small, large = await anna.room(members=[bert]), await anna.room(members=[bert, *others])
    for room in (small, large):
        await b.subscribe(room)
    await b.call("presence.watch", {"users": [], "rooms": [small, large]})
    await b.wait(lambda: latest(b, anna).get("status") == "online", SETTLED_S)
    assert b.payloads("presence")[0]["rooms"][0]["room"] == large
    for room in (small, large):
        await anna.request("DELETE", f"/rooms/{room}/members/{bert.id}", expect=204)
    await b.wait_for("room.removed", 2)
    await b.wait(lambda: latest(b, anna).get("status") == "offline", SETTLED_S)
    told = len(b.payloads("presence"))
    await a.call("presence.set", {"status": "dnd"})
    c = close_later(await bert.connect())
    await c.call("presence.watch", {"users": [anna.id]})
    await c.wait(lambda: latest(c, anna).get("status") == "dnd", SETTLED_S)
    assert len(b.payloads("presence")) == told
