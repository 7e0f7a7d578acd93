"""Rows, words and envelopes of a release to come, met by nodes of this one on every path: two releases run in every upgrade."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from realtime.bus.envelope import Kind
from realtime.model import Event, RoomId, UserId
from tests.client import Refused
from tests.conftest import Nodes

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from realtime.store.provision import Urls
    from tests.client import Person, Socket
    from tests.conftest import Engines

    Keep = Callable[[Socket], Socket]

NEWER = "x.future"
DATA = {"emoji": "❤", "list": [1, {"a": None}]}


class Future:
    """The database after a migration of a newer release, and a node of that release that writes to it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def allow_everything(self) -> None:
        """Drop the lists of words that a newer migration would widen."""
        found = await self._connection.fetch(
            "SELECT conrelid::regclass::text AS name, conname FROM pg_constraint WHERE contype = 'c' "
            "AND conrelid = ANY (ARRAY['events', 'members', 'rooms', 'users', 'presence']::regclass[])"
        )
        for row in found:
            await self._connection.execute(f"ALTER TABLE {row['name']} DROP CONSTRAINT {row['conname']}")

    async def execute(self, query: str, *values: Any) -> None:
        await self._connection.execute(query, *values)

    async def commit(self, room: str, actor: Person, kind: str = NEWER, **columns: Any) -> int:
        """Append one event, as every release does: numbered under the row lock of the room."""
        names = ["room", "kind", "actor", "at", *columns]
        values = [room, kind, actor.id, *columns.values()]
        marks = [
            "$1",
            "$2",
            "$3",
            "date_trunc('milliseconds', clock_timestamp())",
            *(f"${at}" for at in range(4, 4 + len(columns))),
        ]
        async with self._connection.transaction():
            seq = await self._connection.fetchval(
                "UPDATE rooms SET head_seq = head_seq + 1, last_event_at = clock_timestamp() WHERE id = $1 RETURNING head_seq",
                room,
            )
            await self._connection.execute(
                f"INSERT INTO events (seq, {', '.join(names)}) VALUES ({seq}, {', '.join(marks)})", *values
            )
        return int(seq)


@pytest.fixture
async def future(own_database: Urls) -> AsyncIterator[Future]:
    connection = await asyncpg.connect(own_database.owner)
    made = Future(connection)
    await made.allow_everything()
    yield made
    await connection.close()


@pytest.fixture
async def nodes(
    running_engines: Engines, own_database: Urls, future: Future, http: aiohttp.ClientSession, exits: contextlib.AsyncExitStack
) -> Nodes:
    found = Nodes(own_database, running_engines.redis, exits, http)
    for _ in range(2):
        await found.start(send_rate=10_000, send_burst=10_000)
    return found


class Scene:
    """Two people in a private room, each on a node of their own."""

    def __init__(self, nodes: Nodes, future: Future, anna: Person, bert: Person, room: str, a: Socket, b: Socket) -> None:
        self.nodes, self.future = nodes, future
        self.anna, self.bert, self.room = anna, bert, room
        self.a, self.b = a, b

    def healthy(self) -> None:
        """Fail where a loop stumbled or a request ended as `internal`."""
        for node in self.nodes.running:
            assert node.loops.troubles() == {}
            assert not [outcome for outcome in node.metrics.by_label(node.metrics.requests, 1) if outcome == "internal"]


@pytest.fixture
async def scene(nodes: Nodes, future: Future, close_later: Keep) -> AsyncIterator[Scene]:
    here, there = nodes.apis
    anna, bert = await here.register(), await here.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.at(there.url).connect())
    made = Scene(nodes, future, anna, bert, room, a, b)
    yield made
    made.healthy()


# -- events -----------------------------------------------------------------------------------------


async def test_a_row_of_a_newer_kind_is_served_with_its_columns_and_data_in_answers_and_over_rest(scene: Scene) -> None:
    await scene.anna.send(scene.room, "one")
    columns: dict[str, Any] = {
        "client_id": "c",
        "target": 1,
        "user_id": scene.bert.id,
        "role": NEWER,
        "thread": 1,
        "data": json.dumps(DATA),
    }
    seq = await scene.future.commit(scene.room, scene.anna, **columns)
    await scene.anna.send(scene.room, "three")
    answer = await scene.b.subscribe(scene.room, since=0)
    page = await scene.bert.get(f"/rooms/{scene.room}/events?since=0")
    assert answer["events"] == page["events"]
    assert [event["seq"] for event in page["events"]] == [1, 2, 3]
    event = page["events"][seq - 1]
    assert event == {
        "kind": NEWER, "room": scene.room, "seq": 2, "at": event["at"], "actor": scene.anna.id, "client_id": "c", "target": 1,
        "user": scene.bert.id, "role": NEWER, "thread": 1, "data": DATA,
    }  # fmt: skip
    messages = await scene.bert.get(f"/rooms/{scene.room}/messages")
    assert ([one["seq"] for one in messages["messages"]], messages["head_seq"]) == ([1, 3], 3)


async def test_rows_of_newer_kinds_in_a_row_and_in_a_mix_come_by_comparison_and_through_a_gap_in_order(scene: Scene) -> None:
    for socket in (scene.a, scene.b):
        await socket.subscribe(scene.room)
    for _ in range(3):
        await scene.future.commit(scene.room, scene.anna, data=json.dumps(DATA))
    for node in scene.nodes.running:
        node.feeds.compare_soon()  # nothing announces them: the comparison finds them
    for socket in (scene.a, scene.b):
        await socket.wait_events(scene.room, 3)
    for _ in range(5):
        await scene.future.commit(scene.room, scene.bert, "y.other")
        await scene.future.commit(scene.room, scene.bert, "member.joined", user_id=scene.bert.id, role=NEWER)
        await scene.a.send(scene.room)  # shows a gap on both nodes
    for socket in (scene.a, scene.b):
        await socket.wait_events(scene.room, 18)
        assert socket.seqs(scene.room) == list(range(1, 19))
    assert scene.a.events(scene.room) == scene.b.events(scene.room)
    assert [event["kind"] for event in scene.a.events(scene.room)[:6]] == [
        NEWER, NEWER, NEWER, "y.other", "member.joined", "message.created",
    ]  # fmt: skip


async def test_an_event_of_a_newer_kind_crosses_the_bus_as_every_other_does(scene: Scene) -> None:
    await scene.b.subscribe(scene.room)
    first, last = scene.nodes.running
    for _ in range(3):
        seq = await scene.future.commit(scene.room, scene.anna, data=json.dumps(DATA))
        made = Event(RoomId(scene.room), seq, NEWER, UserId(scene.anna.id), _now(), data=DATA)
        role = await scene.future.commit(scene.room, scene.anna, "member.role_changed", user_id=scene.bert.id, role=NEWER)
        changed = Event(
            RoomId(scene.room), role, "member.role_changed", made.actor, made.at, user=UserId(scene.bert.id), role=NEWER
        )
        first.feeds.committed(made.room, [made, changed])
    await scene.b.wait_events(scene.room, 6)
    assert scene.b.seqs(scene.room) == [1, 2, 3, 4, 5, 6]
    assert scene.b.events(scene.room)[0]["data"] == DATA
    assert last.metrics.repaired._value.get() == 0, "the bus brought them, and the store was not asked"
    assert last.metrics.by_label(last.metrics.bus_refused) == {}


async def test_what_an_envelope_of_a_newer_kind_may_have_brought_is_read_from_the_store(scene: Scene) -> None:
    await scene.b.subscribe(scene.room)
    first, last = scene.nodes.running
    newer: Kind = 99  # type: ignore[assignment]
    await scene.future.commit(scene.room, scene.anna)
    first.bus._put(f"{first.bus._room_prefix}{scene.room}", newer, [b"?"], 1)
    first.bus.publish_control(b'["XFuture",{"a":1}]')
    await scene.b.wait_events(scene.room, 1)
    async with asyncio.timeout(5):
        while last.metrics.by_label(last.metrics.bus_refused) != {"kind": 2}:
            await asyncio.sleep(0.01)
    await scene.a.send(scene.room)
    await scene.b.wait_events(scene.room, 2)
    assert scene.b.seqs(scene.room) == [1, 2]


async def test_rows_of_newer_kinds_come_in_parts_to_who_missed_many(scene: Scene) -> None:
    large = json.dumps({"x": "y" * 2000})
    for number in range(300):
        await scene.future.commit(scene.room, scene.anna, NEWER if number % 3 else "y.other", data=large)
    answer = await scene.b.subscribe(scene.room, since=0)
    assert answer["behind"] > 0
    got = len(answer["events"])
    await scene.b.wait_events(scene.room, 300 - got, timeout_s=20)
    assert [one["seq"] for one in answer["events"]] + scene.b.seqs(scene.room) == list(range(1, 301))


async def test_a_message_of_a_newer_release_that_has_no_text_is_shown_as_an_empty_one(scene: Scene) -> None:
    await scene.future.commit(scene.room, scene.anna, "message.created", client_id="c", body=None)
    await scene.anna.send(scene.room, "two")
    messages = await scene.bert.get(f"/rooms/{scene.room}/messages")
    assert [(one["seq"], one["body"]) for one in messages["messages"]] == [(1, ""), (2, "two")]
    answer = await scene.b.subscribe(scene.room, since=0)
    assert [one["body"] for one in answer["events"]] == ["", "two"]


async def test_what_a_rule_of_a_newer_release_refuses_is_forbidden_and_the_rest_of_its_batch_is_taken(scene: Scene) -> None:
    await scene.anna.send(scene.room)
    await scene.future.execute(
        "CREATE OR REPLACE FUNCTION judge_message_edited(p_entries log_entry[]) RETURNS TABLE (ord integer, refusal text) "
        "LANGUAGE sql AS $$ SELECT i.ord, 'x_future' FROM unnest(p_entries) i $$"
    )
    refused, sent = await asyncio.gather(
        scene.a.ask("message.edit", {"room": scene.room, "seq": 1, "body": "other", "client_id": "e"}), scene.a.send(scene.room)
    )
    assert (refused["ok"], refused["error"]["code"], sent) == (False, "forbidden", 2)


# -- roles, kinds of rooms, presence, settings ------------------------------------------------------


async def test_a_member_whose_role_is_newer_reads_writes_and_manages_nobody(scene: Scene) -> None:
    await scene.anna.send(scene.room)
    await scene.future.execute("UPDATE members SET role = $1 WHERE user_id = $2", NEWER, scene.bert.id)
    answer = await scene.b.subscribe(scene.room, since=0)
    assert (answer["role"], len(answer["events"])) == (NEWER, 1)
    assert (await scene.bert.get(f"/rooms/{scene.room}"))["role"] == NEWER
    listed = (await scene.bert.get("/rooms?scope=mine"))["rooms"]
    assert [(one["id"], one["role"]) for one in listed] == [(scene.room, NEWER)]
    members = (await scene.anna.get(f"/rooms/{scene.room}/members"))["members"]
    assert {one["user"]["id"]: one["role"] for one in members} == {scene.anna.id: "owner", scene.bert.id: NEWER}
    assert await scene.b.send(scene.room, "written") == 2
    with pytest.raises(Refused, match="forbidden"):
        await scene.b.call("message.delete", {"room": scene.room, "seq": 1})
    await scene.b.call("message.delete", {"room": scene.room, "seq": 2})
    await scene.bert.request("GET", f"/rooms/{scene.room}/bans", expect=403)
    await scene.bert.request("DELETE", f"/rooms/{scene.room}/members/{scene.anna.id}", expect=403)
    changed = await scene.anna.request("PATCH", f"/rooms/{scene.room}/members/{scene.bert.id}", {"role": "member"}, expect=200)
    assert changed.json["role"] == "member"
    await scene.future.execute("UPDATE members SET role = $1 WHERE user_id = $2", NEWER, scene.bert.id)
    await scene.bert.request("POST", f"/rooms/{scene.room}/leave", expect=204)
    await scene.b.wait_for("room.removed")


async def test_who_joins_a_room_that_a_newer_role_may_own_does_not_own_it(scene: Scene) -> None:
    room = await scene.anna.room("public")
    await scene.future.execute("UPDATE members SET role = $1 WHERE room = $2", NEWER, room)
    joined = await scene.bert.request("POST", f"/rooms/{room}/join", expect=200)
    assert joined.json["role"] == "member"


async def test_a_room_of_a_newer_kind_is_read_and_written_by_its_members_and_changed_by_newer_nodes(scene: Scene) -> None:
    eve = await scene.nodes.apis[0].register()
    await scene.future.execute("UPDATE rooms SET kind = $1 WHERE id = $2", NEWER, scene.room)
    assert (await scene.b.subscribe(scene.room, since=0))["events"] == []
    assert await scene.a.send(scene.room) == 1
    await scene.b.wait_events(scene.room, 1)
    assert (await scene.bert.get(f"/rooms/{scene.room}"))["kind"] == NEWER
    assert [one["kind"] for one in (await scene.bert.get("/rooms"))["rooms"]] == [NEWER]
    for person, method, path, body in [
        (scene.bert, "POST", "leave", None),
        (scene.anna, "DELETE", f"members/{scene.bert.id}", None),
        (scene.anna, "POST", "members", {"user": eve.id}),
    ]:
        refused = await person.request(method, f"/rooms/{scene.room}/{path}", body, expect=503)
        assert (refused.code, refused.json["retryable"]) == ("unavailable", True)
    await eve.get(f"/rooms/{scene.room}", expect=404)
    await eve.request("POST", f"/rooms/{scene.room}/join", expect=404)


async def test_choices_and_settings_of_a_newer_release_are_shown_to_whom_they_belong_and_allow_others_nothing(
    scene: Scene,
) -> None:
    await scene.future.execute(
        "INSERT INTO presence (user_id, status, text) VALUES ($1, $2, 'in a call') "
        "ON CONFLICT (user_id) DO UPDATE SET status = excluded.status, text = excluded.text, changed_at = clock_timestamp()",
        scene.bert.id, NEWER,
    )  # fmt: skip
    assert await scene.bert.get("/me/presence") == {"status": NEWER, "text": "in a call"}
    await scene.bert.request("PATCH", "/me/presence", {"text": "else"}, expect=200)
    assert await scene.bert.get("/me/presence") == {"status": NEWER, "text": "else"}
    await scene.future.execute("UPDATE users SET may_add = $1 WHERE id = $2", NEWER, scene.bert.id)
    assert await scene.bert.get("/me/settings") == {"may_add": NEWER}
    refused = await scene.anna.request("POST", "/rooms", {"kind": "direct", "members": [scene.bert.id]})
    assert refused.code == "not_addable"


def _now() -> datetime:
    return datetime.now(UTC)
