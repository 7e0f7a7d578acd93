"""Every query of the store, on a filled database: none reads a large table from end to end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
from datetime import UTC, datetime
from importlib import resources
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from realtime.store import queries
from tests.conftest import clone
from tools.schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Engines

LARGE = {"users", "sessions", "rooms", "members", "events", "presence", "departures"}
FILL = """
INSERT INTO users (id, username, username_key, display_name, password_hash)
SELECT gen_random_uuid(), 'User' || n, 'user' || n, 'User ' || n, 'x' FROM generate_series(1, 20000) n;
INSERT INTO sessions (id, user_id, refresh_hash, previous_hash, expires_at, revoked_at)
SELECT gen_random_uuid(), id, sha256(id::text::bytea), sha256(('p' || id)::bytea), now() + interval '1 day',
       CASE WHEN random() < 0.2 THEN now() - random() * interval '90 days' END
FROM users;
INSERT INTO presence (user_id, status, last_seen_at, changed_at)
SELECT id, CASE WHEN random() < 0.02 THEN 'invisible' ELSE 'online' END, now(), now() - random() * interval '90 days' FROM users;
INSERT INTO rooms (id, kind, name, direct_key, head_seq)
SELECT gen_random_uuid(), k, 'Room ' || n, CASE WHEN k = 'direct' THEN 'a' || n || ':b' || n END, 40
FROM generate_series(1, 2500) n, LATERAL (SELECT (ARRAY['public', 'private', 'private', 'direct'])[1 + n % 4] AS k) kind;
INSERT INTO members (room, user_id, role)
SELECT r.id, (SELECT id FROM users ORDER BY id LIMIT 1), 'owner' FROM rooms r;
INSERT INTO members (room, user_id, role)
SELECT r.id, u.id, 'member' FROM (SELECT id, row_number() OVER () AS n FROM rooms) r
JOIN (SELECT id, row_number() OVER () AS n FROM users) u ON u.n % 2500 = r.n % 2500
ON CONFLICT DO NOTHING;
INSERT INTO departures (user_id, room) SELECT u.id, gen_random_uuid() FROM users u, generate_series(1, 2);
INSERT INTO events (room, seq, kind, actor, at, client_id, body)
SELECT r.id, s, CASE WHEN s % 5 = 0 THEN 'member.joined' ELSE 'message.created' END,
       (SELECT id FROM users ORDER BY id LIMIT 1), now(), 'c' || s, 'text'
FROM rooms r, generate_series(1, 40) s;
ANALYZE;
"""


def all_queries() -> list[tuple[str, str]]:
    files = sorted(set(pathlib.Path(str(resources.files("realtime"))).glob("*/*.sql")) - {SCHEMA})
    names = [f"{file.parent.name}.{file.stem}" for file in files]
    return [(name, section) for name in names for section in vars(queries.load(*name.split(".")))]


def entry(actor: Any, kind: str, client_id: str, **more: Any) -> dict[str, Any]:
    return {"room": 1, "actor": str(actor), "kind": kind, "client_id": client_id, **more}


def batch(room: Any, entries: list[dict[str, Any]]) -> str:
    is_ruled = any(one["kind"] != "message.created" for one in entries)
    return json.dumps({"rooms": [str(room)], "is_ruled": is_ruled, "entries": entries})


def arguments(facts: SimpleNamespace) -> dict[str, list[Any]]:
    """Give every query arguments as the program gives them."""
    room, user, session, digest = facts.room, facts.user, facts.session, b"x" * 32
    return {
        "events.append": [batch(room, [entry(user, "message.created", "new", body="text")])],
        "events.unnumbered": [facts.nil, 1000],
        "events.number": [room, 500],
        "events.without_rule": [["message.created", "x.future"]],
        "events.erase": [1000],
        "events.erase_later": [],
        "events.pages": [[room] * 3, [0, 10, 39], [100, 110, 139], 1 << 15, 1 << 16],
        "events.missing": [[room] * 3, [0, 10, 39], 100, 5000, 1 << 20],
        "events.messages_before": [room, 30, 51, 1 << 19],
        "events.messages_after": [room, 10, 51, 1 << 19],
        "changes.now": [],
        "changes.since": [facts.stranger, facts.snapshot, 1000],
        "consumers.add": ["new", 2],
        "consumers.take": ["new", 0, "node", 15.0],
        "consumers.release": ["node"],
        "consumers.look": ["filled", 0, "node", 1, 1000],
        "consumers.advance": ["filled", 0, "node", 3, facts.nil, 0, 3, room, 5, 15.0],
        "consumers.events": [3, facts.nil, 0, 3, room, 5, 1, 0],
        "consumers.lag": ["filled", 0, 1, 10_000],
        "presence.active": [3, facts.nil, 0, 3, room, 5],
        "presence.read": [[user, facts.stranger]],
        "presence.changed_since": [60.0, 10_000],
        "presence.choose": [user, "dnd", "busy", 60.0],
        "presence.seen": [[user, facts.stranger], [datetime.now(UTC)] * 2],
        "presence.invisible": [100_000],
        "presence.members": [room, 101],
        "rooms.insert_room": [facts.new, "private", "x", None, 1],
        "rooms.insert_members": [room, [facts.stranger], ["member"]],
        "rooms.find_direct": ["a3:b3"],
        "rooms.known_users": [[user, facts.stranger]],
        "rooms.full": [[user, facts.stranger], 3, 2],
        "rooms.willing": [user, [facts.stranger, user]],
        "rooms.set_closed": [room, user, True],
        "rooms.silence": [room],
        "people.block": [user, facts.stranger],
        "people.unblock": [user, facts.stranger],
        "people.has_blocks": [user, 10],
        "people.list_blocks": [user, facts.nil, 201],
        "people.get_block": [user, facts.stranger],
        "people.exists": [user],
        "people.may_add": [user],
        "people.set_may_add": [user, "nobody"],
        "people.pair": ["a3:b3"],
        "rooms.get": [room, user],
        "rooms.list_mine": [user, facts.nil, 201],
        "rooms.list_public": [user, facts.nil, 201],
        "rooms.lock": [room],
        "rooms.standing": [room, user, facts.stranger],
        "rooms.any_user": [user],
        "rooms.put_ban": [room, facts.stranger, user, datetime.now(UTC)],
        "rooms.delete_ban": [room, facts.stranger],
        "rooms.list_bans": [room, facts.nil, 201],
        "rooms.get_ban": [room, facts.stranger],
        "rooms.count_owners": [room],
        "rooms.is_owned": [room],
        "rooms.has_others": [room, user],
        "rooms.find_user": [user],
        "rooms.put_member": [room, facts.stranger, "member"],
        "rooms.delete_member": [room, facts.stranger],
        "rooms.append_membership": [room, "member.joined", user, user, "member", 1],
        "rooms.list_members": [room, facts.nil, 201],
        "rooms.get_member": [room, user],
        "rooms.access": [[room] * 3, [user, facts.stranger, user]],
        "rooms.heads": [[room]],
        "rooms.epoch": [],
        "accounts.lock": [user],
        "accounts.set_admin": [user, True],
        "accounts.disable": [user],
        "accounts.enable": [user],
        "accounts.set_password": [user, "x", 1, 60.0],
        "accounts.end_sessions": [user, session, "reason"],
        "accounts.rekey": [user, session, digest, digest, 60.0],
        "sessions.insert": [facts.new, user, 1, digest, 60.0, "browser", 99, digest],
        "sessions.revoke_of": [session, user, "reason"],
        "sessions.open_of": [user, 100],
        "sessions.rotation": [session],
        "sessions.rotate": [session, digest, digest, digest, digest, digest, 60.0],
        "sessions.revoke_family": [session, digest, "reason"],
        "sessions.revoke": [session, "logout"],
        "sessions.revoke_by_token": [session, digest, "logout"],
        "sessions.revoked_since": [1000.0],
        "signing_keys.lock": [],
        "signing_keys.usable": [],
        "signing_keys.insert": ["kid", digest, "v1.a.b.c", 0.0],
        "signing_keys.retire": ["kid", 60.0],
        "signing_keys.retire_all": [],
        "signing_keys.wrap": ["kid", "v1.a.b.c"],
        "signing_keys.forget_plain": [],
        "signing_keys.older_nodes": [],
        "signing_keys.wrapped": ["", 500],
        "signing_keys.rewrap": ["kid", "v1.a.b.c", "v1.d.e.f"],
        "users.insert": [facts.new, "New", "new", "New", "x"],
        "users.credentials": ["user7"],
        "users.credentials_of": [user],
        "users.is_admin": [user],
        "users.account": [user],
        "users.find_id": ["user7"],
        "users.accounts": ["user7%", "", 51],
        "users.admins": [],
        "users.is_taken": ["user7"],
        "users.set_password_hash": [user, "x", "y"],
        "users.find": [[user, facts.stranger]],
        "users.search": ["user77%", 100],
    }


@pytest.fixture(scope="module")
def filled_database(running_engines: Engines) -> str:
    return asyncio.run(fill(running_engines))


async def fill(engines: Engines) -> str:
    url = (await clone(engines)).owner
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(FILL)
    finally:
        await connection.close()
    return url


@pytest.fixture
async def filled(filled_database: str) -> AsyncIterator[tuple[asyncpg.Connection[Any], SimpleNamespace]]:
    connection = await asyncpg.connect(filled_database)
    try:
        row = await connection.fetchrow(
            """SELECT m.room, m.user_id AS user, gen_random_uuid() AS new,
                      pg_current_snapshot()::text AS snapshot, (SELECT id FROM sessions LIMIT 1) AS session,
                      (SELECT id FROM users u WHERE NOT EXISTS (SELECT FROM members x WHERE x.room = m.room AND x.user_id = u.id)
                       LIMIT 1) AS stranger
               FROM members m JOIN rooms r ON r.id = m.room WHERE r.kind = 'private' AND m.role = 'owner' LIMIT 1"""
        )
        assert row is not None
        yield connection, SimpleNamespace(**row, nil="00000000-0000-0000-0000-000000000000")
    finally:
        await connection.close()


def scanned(plan: dict[str, Any]) -> set[str]:
    """Return the tables that a plan reads from end to end."""
    found = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    for inner in plan.get("Plans", ()):
        found |= scanned(inner)
    return found


async def test_no_query_scans_a_large_table(filled: tuple[asyncpg.Connection[Any], SimpleNamespace]) -> None:
    connection, facts = filled
    given = arguments(facts)
    everything = sorted(f"{name.partition('.')[2]}.{section}" for name, section in all_queries())
    assert sorted(given) == everything, "each query is looked at"
    wrong = {}
    for name, section in all_queries():
        query = f"{name.partition('.')[2]}.{section}"
        sql = getattr(queries.load(*name.split(".")), section)
        [row] = await connection.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *given[query])
        tables = scanned(json.loads(row[0])[0]["Plan"]) & LARGE
        if tables:
            wrong[query] = tables
    assert wrong == {}


async def test_the_check_would_notice_a_scan(filled: tuple[asyncpg.Connection[Any], SimpleNamespace]) -> None:
    connection, _ = filled
    [row] = await connection.fetch("EXPLAIN (FORMAT JSON) SELECT * FROM events WHERE body = 'x'")
    assert scanned(json.loads(row[0])[0]["Plan"]) == {"events"}


async def test_appending_reads_no_large_table_from_end_to_end(
    filled: tuple[asyncpg.Connection[Any], SimpleNamespace],
) -> None:
    """The statements inside the function have no plan to look at from outside; PostgreSQL counts what they did."""
    connection, facts = filled

    async def scans() -> dict[str, int]:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        rows = await connection.fetch("SELECT relname, seq_scan FROM pg_stat_user_tables")
        return {row["relname"]: row["seq_scan"] for row in rows if row["relname"] in LARGE}

    before = await scans()
    append = queries.load("log", "events").append
    for number in range(1, 10, 2):  # every fifth event of the filling is no message
        for target in (number, number + 10):  # often enough for PostgreSQL to settle on a plan
            if target % 5 == 0:
                continue
            entries = [
                entry(facts.user, "message.created", f"created-{target}", body="new"),
                entry(facts.user, "message.created", f"answered-{target}", body="new", thread=target),
                entry(facts.user, "message.edited", f"edited-{target}", body="edit", target=target),
                entry(facts.user, "message.deleted", f"deleted-{target}", target=target + 20),
            ]
            row = await connection.fetchrow(append, batch(facts.room, entries))
            assert row is not None and row["refusals"] is None, "all accepted"
    assert await connection.fetchval(queries.load("log", "events").number, facts.room, 10)
    assert await scans() == before


@pytest.mark.parametrize("release", ["this", "the one before"])
async def test_appending_to_a_new_database_does_not_get_slower_as_it_fills(running_engines: Engines, release: str) -> None:
    """Plans that were made over empty tables, or over rows without statistics, are kept: what a batch reads must not grow with
    the log.
    """
    url = (await clone(running_engines)).owner
    async with contextlib.AsyncExitStack() as stack:

        async def connect() -> asyncpg.Connection[Any]:
            connection = await asyncpg.connect(url)
            stack.push_async_callback(connection.close)
            return connection

        first = await connect()
        await first.execute("ALTER TABLE events SET (autovacuum_enabled = off)")  # statistics come when they come
        room, user = [
            await first.fetchval(sql)
            for sql in (
                "INSERT INTO rooms (id, kind) VALUES (gen_random_uuid(), 'public') RETURNING id",
                "INSERT INTO users (id, username, username_key, display_name, password_hash) "
                "VALUES (gen_random_uuid(), 'Anna', 'anna', 'Anna', 'x') RETURNING id",
            )
        ]
        await first.execute("INSERT INTO members (room, user_id, role) VALUES ($1, $2, 'member')", room, user)

        async def read_by_a_batch(connection: asyncpg.Connection[Any], number: int) -> int:
            before = await read()
            await append(connection, number)
            await connection.execute("SELECT pg_stat_force_next_flush()")
            return await read() - before

        async def of_this_release(connection: asyncpg.Connection[Any], number: int) -> None:
            entries = [entry(user, "message.created", f"c{number}-{index}", body="text") for index in range(50)]
            if number:
                entries.append(entry(user, "message.edited", f"e{number}", body="text", target=number))
                entries.append(entry(user, "message.created", f"c{number - 1}-7", body="text"))
            row = await connection.fetchrow(queries.load("log", "events").append, batch(room, entries))
            codes = [code for code in (row and row["refusals"]) or () if code]
            assert codes == (["duplicate"] if number else []), "a retry of the batch before"

        async def of_the_release_before(connection: asyncpg.Connection[Any], number: int) -> None:
            row = await connection.fetchrow(
                "SELECT outcomes FROM append_batch($1::uuid[], $2::integer[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], "
                "$7::text[], 1000)",
                [room], [1] * 50, [user] * 50, ["message.created"] * 50, [f"c{number}-{index}" for index in range(50)],
                [None] * 50, ["text"] * 50,
            )  # fmt: skip
            assert row is not None and row["outcomes"] is None

        append = of_this_release if release == "this" else of_the_release_before

        async def read() -> int:
            await first.execute("SELECT pg_stat_force_next_flush()")
            found: int = await first.fetchval(
                "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables WHERE relname = 'events'"
            )
            return found

        batches = [await read_by_a_batch(first, number) for number in range(20)]
        for number in range(20, 40, 10):
            later = await connect()
            batches += [await read_by_a_batch(later, number + index) for index in range(10)]
        assert max(batches) <= 60, batches
