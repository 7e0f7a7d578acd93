"""Signing keys in the database: wrapped, beside nodes of the release before, through rotations, back-ups and mistakes."""

from __future__ import annotations

import asyncio
import base64
import os
import pathlib
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from realtime.auth.keys import KeyRing, new_key
from realtime.auth.signing_keys import WRAPPED, SigningKeyStore
from realtime.node.engines.postgres import programs
from realtime.store.pool import Database
from realtime.store.rewrapping import PAGE, WrappedColumn, rewrap
from realtime.store.wrapping import MasterKey, MasterKeys, UnknownMasterKey, Unreadable, wrapped_under
from realtime.tasks import Loops
from tests.client import Api, Person
from tests.process import readable, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from realtime.store.provision import Urls

ONE, TWO = MasterKey(b"\x01" * 32), MasterKey(b"\x02" * 32)
OLD, BOTH, NEW = MasterKeys([ONE]), MasterKeys([TWO, ONE]), MasterKeys([TWO])


class NodeBefore:
    """What a node of release 0.2 does with signing keys, by its statements, on a connection that is called as its are."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self.connection = connection

    async def usable(self) -> dict[str, bytes]:
        rows = await self.connection.fetch(
            "SELECT kid, secret, active_from <= now() AS active, "
            "extract(epoch FROM now() - active_from)::double precision AS age_s "
            "FROM signing_keys WHERE retires_at IS NULL OR retires_at > now() ORDER BY active_from, kid"
        )
        return {row["kid"]: bytes(row["secret"]) for row in rows}

    async def rotate(self, kid: str, secret: bytes, announce_s: float) -> None:
        async with self.connection.transaction():
            await self.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('realtime signing keys', 0))")
            await self.connection.execute(
                "INSERT INTO signing_keys (kid, secret, active_from) "
                "VALUES ($1, $2, now() + make_interval(secs => $3::double precision))", kid, secret, announce_s,
            )  # fmt: skip
            await self.connection.execute(
                "UPDATE signing_keys SET retires_at = now() + make_interval(secs => $2::double precision) "
                "WHERE kid <> $1 AND retires_at IS NULL", kid, announce_s + 930,
            )  # fmt: skip


@pytest.fixture
async def database(own_database: Urls) -> AsyncIterator[Database]:
    found = Database(own_database.application, size=4)
    await found.open()
    yield found
    await found.close()


@pytest.fixture
async def before(own_database: Urls) -> AsyncIterator[NodeBefore]:
    """A node of the release before, connected."""
    connection = await asyncpg.connect(own_database.application, server_settings={"application_name": "realtime"})
    yield NodeBefore(connection)
    await connection.close()


def ring(database: Database, keys: MasterKeys | None = OLD, *, alone: bool = False) -> KeyRing:
    return KeyRing(SigningKeyStore(database, keys, alone=alone), 30 * 86_400.0, 930.0, Loops())


async def rows_of(database: Database) -> dict[str, tuple[bytes | None, str | None]]:
    rows = await database.fetch("SELECT kid, secret, wrapped FROM signing_keys ORDER BY active_from, kid")
    return {row["kid"]: (row["secret"], row["wrapped"]) for row in rows}


# -- one release --------------------------------------------------------------------------------------


async def test_a_new_installation_never_has_a_signing_key_in_plain(database: Database) -> None:
    one, two = ring(database), ring(database)
    await one.open()
    await two.open()
    assert await one.rotate(now=True)
    await two.reload()
    assert dict(one.secrets) == dict(two.secrets)
    assert len(one.secrets) == 2
    for secret, wrapped in (await rows_of(database)).values():
        assert secret is None
        assert wrapped is not None and wrapped_under(wrapped) == ONE.id


async def test_without_a_master_key_all_is_as_it_was_before(database: Database, before: NodeBefore) -> None:
    one = ring(database, None)
    await one.open()
    await one.rotate(now=True)
    assert await before.usable() == dict(one.secrets)
    assert {wrapped for _, wrapped in (await rows_of(database)).values()} == {None}


async def test_wrapped_values_that_were_swapped_between_rows_are_not_believed(database: Database, own_database: Urls) -> None:
    one = ring(database)
    await one.open()
    await one.rotate(now=True)
    (first, (_, a)), (second, (_, b)) = (await rows_of(database)).items()
    for kid, wrapped in ((first, b), (second, a)):
        await database.execute("UPDATE signing_keys SET wrapped = $2 WHERE kid = $1", kid, wrapped)
    known = dict(one.secrets)
    with pytest.raises(Unreadable, match="copied from another row"):
        await one.reload()
    assert dict(one.secrets) == known, "a node that runs goes on with the keys that it has read"


async def test_a_node_with_another_master_key_does_not_start_and_changes_nothing(database: Database) -> None:
    await ring(database).open()
    there = await rows_of(database)
    for keys in (NEW, None):
        with pytest.raises(UnknownMasterKey, match=ONE.id):
            await ring(database, keys).open()
    assert await rows_of(database) == there


async def test_the_application_role_can_forget_a_secret_and_not_set_one(database: Database, own_database: Urls) -> None:
    await ring(database).open()
    connection = await asyncpg.connect(own_database.application)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE signing_keys SET secret = $1", b"mine" * 8)
        await connection.execute("SELECT forget_plain_signing_keys()")
    finally:
        await connection.close()


# -- beside the release before ------------------------------------------------------------------------


async def test_nodes_of_both_releases_read_each_others_keys_whoever_makes_them(database: Database, before: NodeBefore) -> None:
    await before.rotate("first", b"1" * 32, 0.0)
    one, two = ring(database), ring(database)
    await one.open()
    await two.open()
    assert dict(one.secrets) == dict(two.secrets) == await before.usable() == {"first": b"1" * 32}
    assert one.signing == ("first", b"1" * 32)

    assert await one.rotate(now=True), "a new node makes a key"
    await two.reload()
    assert len(two.secrets) == 2
    assert dict(two.secrets) == await before.usable()

    await before.rotate("third", b"3" * 32, 0.0)
    await two.reload()
    assert two.signing == ("third", b"3" * 32), "a node of the release before makes one: it counts at once"
    assert (await rows_of(database))["third"][1] is None
    assert not await two.rotate()
    for _, wrapped in (await rows_of(database)).values():
        assert wrapped is not None, "and is wrapped at the next look"
    await one.reload()
    assert dict(one.secrets) == await before.usable()


async def test_the_plain_form_goes_when_no_node_of_the_release_before_is_left(database: Database, before: NodeBefore) -> None:
    await before.rotate("first", b"1" * 32, 0.0)
    store, one = SigningKeyStore(database, OLD), ring(database)
    await one.open()
    assert await store.forget_plain() == 1
    assert await before.usable() == {"first": b"1" * 32}
    await before.connection.close()
    assert await store.forget_plain() == 0
    [(secret, wrapped)] = (await rows_of(database)).values()
    assert secret is None and wrapped is not None
    await one.reload()
    assert one.signing == ("first", b"1" * 32)
    assert await one.rotate(now=True)
    assert {secret for secret, _ in (await rows_of(database)).values()} == {None}, "nor is the next key in plain"


async def test_afterwards_a_node_of_the_release_before_refuses_to_start_and_its_keys_do_not_count(
    database: Database, before: NodeBefore
) -> None:
    one = ring(database)
    await one.open()
    with pytest.raises(TypeError):
        await before.usable()  # as its code does: bytes(None), and no key that is empty
    await before.rotate("forged", b"f" * 32, 0.0)
    await one.reload()
    assert "forged" not in one.secrets
    assert not await one.rotate()
    assert (await rows_of(database))["forged"][1] is None


async def test_plain_keys_that_no_token_is_checked_with_any_more_are_forgotten_too(
    database: Database, before: NodeBefore
) -> None:
    await before.rotate("expired", b"0" * 32, 0.0)
    await database.execute("UPDATE signing_keys SET retires_at = now()")
    await before.rotate("first", b"1" * 32, 0.0)
    await before.connection.close()
    assert await SigningKeyStore(database, OLD).forget_plain() == 0
    assert {secret for secret, _ in (await rows_of(database)).values()} == {None}


async def test_a_database_that_is_ours_alone_forgets_the_plain_form_at_once(database: Database, before: NodeBefore) -> None:
    await before.rotate("first", b"1" * 32, 0.0)
    one = ring(database, alone=True)
    await one.open()
    assert one.signing == ("first", b"1" * 32)
    assert (await rows_of(database))["first"][0] is None


async def test_nothing_in_plain_is_forgotten_that_cannot_be_unwrapped(database: Database, before: NodeBefore) -> None:
    await before.rotate("first", b"1" * 32, 0.0)
    await ring(database, NEW).open()
    await before.connection.close()
    for one in (ring(database, OLD, alone=True).open(), SigningKeyStore(database, OLD).forget_plain()):
        with pytest.raises(UnknownMasterKey):
            await one
    assert (await rows_of(database))["first"][0] == b"1" * 32


# -- another master key -------------------------------------------------------------------------------


async def test_everything_is_wrapped_anew_while_nodes_read_and_make_keys(database: Database) -> None:
    one, two = ring(database), ring(database, BOTH)
    await one.open()
    for _ in range(20):
        await one.rotate(now=True)
    known, stop = dict(one.secrets), False

    async def read() -> int:
        count = 0
        while not stop:
            await two.reload()
            assert known.items() <= two.secrets.items()
            count += 1
        return count

    async def make() -> None:
        while not stop:
            await two.rotate(now=True)
            await asyncio.sleep(0.001)

    working = [asyncio.create_task(work) for work in (read(), read(), make())]
    assert await rewrap(database, [WRAPPED], BOTH) == 21
    stop = True
    counts = await asyncio.gather(*working)
    assert min(count for count in counts if count is not None) > 0
    assert await rewrap(database, [WRAPPED], BOTH) == 0, "again is harmless"
    after = ring(database, NEW)
    await after.open()
    assert known.items() <= after.secrets.items()
    with pytest.raises(UnknownMasterKey):
        await one.reload()  # it has not got the new key yet: it goes on with what it knows
    assert dict(one.secrets) == known


async def test_any_column_is_wrapped_anew_page_by_page_and_a_change_meanwhile_wins(
    database: Database, own_database: Urls
) -> None:
    owner = await asyncpg.connect(own_database.owner)
    try:
        await owner.execute(
            "CREATE TABLE hooks (id uuid PRIMARY KEY, secret text); GRANT SELECT, UPDATE ON hooks TO roomwire_app"
        )
        column = WrappedColumn(
            "hooks",
            "secret",
            "SELECT id::text AS row, secret AS value FROM hooks WHERE secret IS NOT NULL AND id::text > $1 ORDER BY 1 LIMIT $2",
            "UPDATE hooks SET secret = $3 WHERE id = $1::text::uuid AND secret = $2",
        )
        ids = [f"00000000-0000-0000-0000-{number:012x}" for number in range(PAGE + 5)]
        values = [(one, OLD.wrap(one.encode(), column.place(one))) for one in ids]
        await owner.executemany("INSERT INTO hooks VALUES ($1::text::uuid, $2)", values)
        changed = BOTH.wrap(b"changed", column.place(ids[0]))
        await owner.execute("UPDATE hooks SET secret = $2 WHERE id = $1::text::uuid", ids[0], changed)
        await database.execute(column.replaced, ids[0], values[0][1], "too late")
        assert await rewrap(database, [column], BOTH) == PAGE + 4
        found = {str(row["id"]): row["secret"] for row in await owner.fetch("SELECT id, secret FROM hooks")}
    finally:
        await owner.close()
    assert NEW.unwrap(found.pop(ids[0]), column.place(ids[0])) == b"changed"
    assert {one: NEW.unwrap(value, column.place(one)) for one, value in found.items()} == {one: one.encode() for one in ids[1:]}


async def test_a_reset_makes_a_key_in_place_of_those_that_cannot_be_read(database: Database) -> None:
    lost = ring(database)
    await lost.open()
    await SigningKeyStore(database, NEW).reset(*new_key())
    found = ring(database, NEW)
    await found.open()
    assert len(found.secrets) == 1
    assert not found.secrets.keys() & lost.secrets.keys()


# -- as an operator does it ---------------------------------------------------------------------------


async def roomwire(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run one of our commands; return its status and what it said on standard output and error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("REALTIME_", "ROOMWIRE_"))}
    environment |= {f"ROOMWIRE_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "realtime", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, env=environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.strip(), done.stderr.strip()


async def test_a_back_up_of_the_embedded_database_holds_no_key_that_opens_it(
    http: aiohttp.ClientSession, tmp_path: pathlib.Path
) -> None:
    folder = readable(tmp_path)
    old, new, dump = folder / "old", folder / "new", folder / "one.dump"
    async with serving(data_dir=str(old), log_level="debug") as server:
        anna = await Api(http, server.url).register()
        assert (await roomwire("backup", str(dump), data_dir=str(old)))[0] == 0
        status, said, _ = await roomwire("keys", "status", data_dir=str(old))
        [key_id] = re.findall(r"^master key (\S+)  encrypts and decrypts$", said, re.MULTILINE)
        assert (status, f"encrypted with {key_id}" in said, "plain" in said) == (0, True, False)
    file = old / "master.key"
    assert file.stat().st_mode & 0o777 == 0o600
    master_key = base64.b64decode(file.read_bytes())
    command = [str(programs() / "pg_restore"), "-f", "-", str(dump)]
    listed = (await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)).stdout
    [(kid, value)] = re.findall(rb"^([0-9a-f]{16})\t\\N\t.*\t(v1\.\S+)$", listed, re.MULTILINE)
    secret = MasterKeys([MasterKey(master_key)]).unwrap(value.decode(), WRAPPED.place(kid.decode()))
    for found in (listed, dump.read_bytes(), "\n".join(server.output).encode()):
        for hidden in (master_key, secret):
            for form in (hidden, hidden.hex().encode(), base64.b64encode(hidden), base64.urlsafe_b64encode(hidden)[:40]):
                assert form not in found

    status, said, _ = await roomwire("restore", str(dump), data_dir=str(new))
    assert (status, "encrypted with a master key that is not here" in said) == (0, True)
    async with serving(data_dir=str(new)) as server:
        there = Api(http, server.url)
        await there.request("GET", "/me", token=anna.token, expect=401)
        refreshed = await there.request("POST", "/auth/refresh", {"refresh_token": anna.refresh_token}, expect=200)
        assert (await Person(there, refreshed.json).get("/me"))["id"] == anna.id

    (new / "master.key").write_bytes(b"rubbish")
    status, _, said = await roomwire("restore", str(dump), "--replace", data_dir=str(new))
    assert (status, "Line 1 of the master key file" in said) == (2, True)
    (new / "master.key").write_bytes(file.read_bytes())
    status, said, _ = await roomwire("restore", str(dump), "--replace", data_dir=str(new))
    assert (status, "master key" in said) == (0, False)
    async with serving(data_dir=str(new)) as server:
        await Api(http, server.url).request("GET", "/me", token=anna.token, expect=200)


async def test_the_operator_takes_master_keys_into_use_and_out_of_it(
    running_engines: Any, own_database: Urls, http: aiohttp.ClientSession, tmp_path: pathlib.Path
) -> None:
    one, two = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
    file = tmp_path / "keys"
    settings = {"database_url": own_database.application, "migrate_database_url": own_database.owner,
                "redis_url": running_engines.redis, "redis_prefix": "atrest"}  # fmt: skip
    status, _, said = await roomwire("keys", "rotate", **settings)
    assert (status, "name its file" in said) == (2, True)
    async with serving(**settings) as server:
        anna = await Api(http, server.url).register()
        await asyncio.sleep(0)
        assert any("secrets in the database are kept in plain" in line for line in server.output)
    assert "in plain" in (await roomwire("keys", "status", **settings))[1]

    file.write_text(f"{one}\n")
    file.chmod(0o600)
    settings["master_key_file"] = str(file)
    async with serving(**settings) as server:
        assert any("kept in plain too" in line for line in server.output)
        connection = await asyncpg.connect(own_database.application, server_settings={"application_name": "realtime"})
        status, said, _ = await roomwire("keys", "rotate", **settings)
        assert (status, "1 connections" in said) == (75, True)
        await connection.close()
        assert (await roomwire("keys", "rotate", **settings))[0] == 0
        assert "in plain" not in (await roomwire("keys", "status", **settings))[1]
        await Api(http, server.url).request("GET", "/me", token=anna.token, expect=200)

    file.write_text(f"{two}\n")
    status, _, said = await roomwire("serve", "--port", "0", **settings)
    assert (status, ONE.id in said, "keys reset" in said) == (2, True, True)
    file.write_text(f"{two}\n{one}\n")
    async with serving(**settings) as server:
        status, said, _ = await roomwire("keys", "rotate", **settings)
        assert (status, TWO.id in said, "1 secrets anew" in said) == (0, True, True)
        file.write_text(f"{two}\n")
        assert f"encrypted with {TWO.id}" in (await roomwire("keys", "status", **settings))[1]
        await Api(http, server.url).request("GET", "/me", token=anna.token, expect=200)
    async with serving(**settings) as server:
        await Api(http, server.url).request("GET", "/me", token=anna.token, expect=200)
        assert (await roomwire("keys", "reset", **settings))[0] == 0
    async with serving(**settings) as server:
        await Api(http, server.url).request("GET", "/me", token=anna.token, expect=401)
        everything = "\n".join(server.output)
    file.chmod(0o644)
    status, _, said = await roomwire("serve", "--port", "0", **settings)
    assert (status, said.rpartition("\n")[2].startswith("roomwire: The master key file"), "chmod 600" in said) == (2, True, True)
    assert one not in everything and two not in everything
