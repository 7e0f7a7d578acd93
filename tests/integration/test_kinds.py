"""Kinds of events: the rules in Python and in PostgreSQL are one, and a kind from elsewhere takes its declaration alone."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from realtime.errors import RealtimeError
from realtime.log.kinds import Case, Kind, Kinds, Target
from realtime.log.store import Committed, Entry, EventStore
from realtime.log.writer import Append
from realtime.messages import policy
from realtime.model import Role, RoomId, UserId
from realtime.node.kinds import KINDS
from realtime.store.pool import Database
from realtime.store.starting import CannotStart
from tests import contract
from tests.client import Api, unique
from tests.conftest import started
from tests.toy import kinds as pinned

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from realtime.store.provision import Urls
    from tests.client import Socket
    from tests.conftest import Engines

JUDGED = [kind for kind in (*KINDS, pinned.PINNED) if kind.judge is not None]


@pytest.fixture
async def owner(own_database: Urls) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(own_database.owner)
    await connection.execute(pinned.MIGRATION)
    yield connection
    await connection.close()


@pytest.fixture
async def store(own_database: Urls) -> AsyncIterator[EventStore]:
    database = Database(own_database.application)
    await database.open()
    yield EventStore(database)
    await database.close()


def cases() -> list[Case]:
    """Every case that rules tell apart, and some that they do not."""
    messages = [
        Target(policy.CREATED, is_own, is_deleted, is_answer, edits)
        for is_own, is_deleted, is_answer in itertools.product([True, False], repeat=3)
        for edits in (0, policy.MAX_EDITS - 1, policy.MAX_EDITS)
    ]
    others = [Target(kind, is_own) for kind in ("message.edited", "member.joined", "x.future") for is_own in (True, False)]
    targets = [(None, False), (None, True), *((target, True) for target in (*messages, *others))]
    return [
        Case(role, is_silenced, target, has_target)
        for role, is_silenced, (target, has_target) in itertools.product([*Role], [False, True], targets)
    ]


@pytest.mark.parametrize("kind", JUDGED, ids=lambda kind: kind.name)
async def test_the_store_judges_every_case_as_the_policy_does(
    owner: asyncpg.Connection[Any], store: EventStore, kind: Kind
) -> None:
    users = [
        str(row["id"])
        for row in await owner.fetch(
            "INSERT INTO users (id, username, username_key, display_name, password_hash) "
            "SELECT gen_random_uuid(), 'u' || n, 'u' || n, 'u', 'x' FROM generate_series(1, 2) n RETURNING id"
        )
    ]
    actor, other = map(UserId, users)
    every = cases()
    rooms = [
        RoomId(str(row["id"]))
        for row in await owner.fetch(
            "INSERT INTO rooms (id, kind, head_seq) SELECT gen_random_uuid(), 'private', 2 FROM generate_series(1, $1) "
            "RETURNING id",
            len(every),
        )
    ]
    await owner.executemany(
        "INSERT INTO members (room, user_id, role, is_silenced) VALUES ($1, $2, $3, $4)",
        [(room, actor, case.role, case.is_silenced) for room, case in zip(rooms, every, strict=True)],
    )
    await owner.executemany(
        "INSERT INTO events (room, seq, kind, actor, at, body, thread, edits, deleted_at) "
        "VALUES ($1, 2, $2, $3, now(), 'text', $4, $5, CASE WHEN $6 THEN now() END)",
        [
            (
                room, case.target.kind, actor if case.target.is_own else other, 1 if case.target.is_answer else None,
                case.target.edits, case.target.is_deleted,
            )
            for room, case in zip(rooms, every, strict=True)
            if case.target is not None
        ],
    )  # fmt: skip
    entries = [_entry(kind, actor, room, case, number) for number, (room, case) in enumerate(zip(rooms, every, strict=True))]
    answers = await store.append(entries)
    wrong = {
        case: (_said(answer), _judged(kind, case))
        for case, answer in zip(every, answers, strict=True)
        if _said(answer) != _judged(kind, case)
    }
    assert wrong == {}


def _entry(kind: Kind, actor: UserId, room: RoomId, case: Case, number: int) -> Entry:
    about = 2 if case.has_target else None
    if kind.is_plain:
        return Entry(room, actor, kind, str(number), None, "text", thread=about)
    return Entry(room, actor, kind, str(number), about, "text")


def _judged(kind: Kind, case: Case) -> str:
    assert kind.judge is not None
    try:
        kind.judge(case)
    except RealtimeError as refused:
        return refused.code
    return "accepted"


def _said(answer: object) -> str:
    return answer.code if isinstance(answer, RealtimeError) else "accepted"


async def test_a_kind_from_outside_of_the_package_is_appended_delivered_resumed_and_read(
    running_engines: Engines,
    own_database: Urls,
    owner: asyncpg.Connection[Any],
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    close_later: Callable[[Socket], Socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = Kinds((*KINDS, *pinned.KINDS))
    for name, value in contract.documents(every).items():
        monkeypatch.setattr(contract, name, value)
    prefix = unique()
    here, there = [
        await exits.enter_async_context(started(own_database, running_engines.redis, kinds=every, redis_prefix=prefix))
        for _ in range(2)
    ]
    anna = await Api(http, here[1]).register()
    room = await anna.room("private")
    near, far = close_later(await anna.connect()), close_later(await anna.at(there[1]).connect())
    for socket in (near, far):
        await socket.subscribe(room)
    message, other = await anna.send(room, "pin me"), await anna.send(room, "and me")

    async def pin(target: int, client_id: str) -> Committed | RealtimeError:
        answer: asyncio.Future[Committed | RealtimeError] = asyncio.get_running_loop().create_future()
        entry = Append(
            RoomId(room), UserId(anna.id), pinned.PINNED, client_id, target, None, answer.set_result, data={"note": "read this"}
        )
        here[0].writer.submit(entry)
        return await answer

    pins = await asyncio.gather(pin(message, "p1"), pin(other, "p2"), pin(99, "p3"), pin(message, "p1"))
    assert [answer.seq for answer in pins if isinstance(answer, Committed)] == [3, 4, 3], "two, and the retry of one"
    assert [answer.code for answer in pins if isinstance(answer, RealtimeError)] == ["message_not_found"]
    assert isinstance(refused := await pin(message, "p4"), RealtimeError)
    assert refused.code == "forbidden", "what its rule reads of a table of its own"
    expected = {"kind": "message.pinned", "target": message, "client_id": "p1", "data": {"note": "read this"}}
    for socket in (near, far):
        await socket.wait_events(room, 4)
        live = socket.events(room)
        assert live[2].items() >= expected.items()
    resumed = await close_later(await anna.at(there[1]).connect()).subscribe(room, since=2)
    page = await anna.get(f"/rooms/{room}/events?since=0")
    assert resumed["events"] == live[2:] == page["events"][2:]
    assert [tuple(row) for row in await owner.fetch("SELECT target, seq FROM pins ORDER BY seq")] == [(message, 3), (other, 4)]


async def test_a_kind_without_its_rule_in_the_database_stops_the_start(running_engines: Engines, own_database: Urls) -> None:
    with pytest.raises(CannotStart, match=r"no rule for events of the kind message\.pinned") as stopped:
        async with started(own_database, running_engines.redis, kinds=Kinds((*KINDS, *pinned.KINDS))):
            pass
    assert not stopped.value.passing
