"""Behind PgBouncer: in session mode a node works as it does without; in the other modes it does not start, and says why."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from realtime.node.engines.process import unprivileged
from realtime.store import migrate
from realtime.store.pool import Database
from realtime.store.provision import Urls
from realtime.store.starting import CannotStart
from tests.conftest import Nodes

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

    import aiohttp

    from tests.conftest import Engines

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not here: install its Debian package")


@contextlib.contextmanager
def pooled(urls: Urls, folder: pathlib.Path, mode: str, **more: str) -> Iterator[Urls]:
    """Run PgBouncer before a database; yield the URLs through it."""
    [upstream] = parse_qs(urlsplit(urls.owner).query)["host"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "listen_addr": "127.0.0.1", "listen_port": str(port), "unix_socket_dir": "", "auth_type": "trust",
        "auth_file": str(folder / "users"), "pool_mode": mode, "logfile": str(folder / "log"),
    } | more  # fmt: skip
    (folder / "users").write_text('"roomwire_app" ""\n"roomwire_owner" ""\n')
    lines = "\n".join(f"{key} = {value}" for key, value in settings.items())
    (folder / "ini").write_text(f"[databases]\n* = host={upstream}\n[pgbouncer]\n{lines}\n")
    user = unprivileged()  # as the embedded PostgreSQL, whose socket is its own
    if user is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)
        for path in (folder, *folder.parents[:2]):
            path.chmod(path.stat().st_mode | 0o011)
    assert PGBOUNCER is not None  # or all of this is skipped
    process = subprocess.Popen(
        [PGBOUNCER, "-q", *(["-u", user.pw_name] if user else []), str(folder / "ini")], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"pgbouncer does not listen: {(folder / 'log').read_text() if (folder / 'log').exists() else 'no log'}")
        name = urlsplit(urls.owner).path
        yield Urls(*(f"postgresql://{role}@127.0.0.1:{port}{name}" for role in ("roomwire_owner", "roomwire_app")))
    finally:
        process.terminate()
        process.wait(10)


async def test_in_session_mode_a_node_starts_and_works(
    running_engines: Engines, own_database: Urls, tmp_path: pathlib.Path, http: aiohttp.ClientSession
) -> None:
    with pooled(own_database, tmp_path, "session") as urls:
        assert await migrate.apply(urls.owner) == []
        async with contextlib.AsyncExitStack() as stack:
            api = await Nodes(urls, running_engines.redis, stack, http).start(database_pool_size=4)
            anna = await api.register()
            room = await anna.room("private")
            assert [await anna.send(room) for _ in range(5)] == [1, 2, 3, 4, 5]


async def test_in_session_mode_with_one_session_a_node_starts_too(own_database: Urls, tmp_path: pathlib.Path) -> None:
    with pooled(own_database, tmp_path, "session", default_pool_size="1") as urls:
        database = Database(urls.application, size=1)
        await database.open()
        assert await database.fetchrow("SELECT 1") is not None
        await database.close()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("pool_size", ["1", "5"])
async def test_in_the_other_modes_neither_a_node_nor_a_migration_starts_and_the_sentence_says_what_to_do(
    own_database: Urls, tmp_path: pathlib.Path, mode: str, pool_size: str
) -> None:
    with pooled(own_database, tmp_path, mode, default_pool_size=pool_size, server_round_robin="1") as urls:
        with pytest.raises(CannotStart, match="pool_mode = session") as stopped:
            await Database(urls.application).open()
        assert not stopped.value.passing
        with pytest.raises(CannotStart, match="pool_mode = session"):
            await migrate.apply(urls.owner)


async def test_a_database_that_the_pooler_does_not_know_is_said(own_database: Urls, tmp_path: pathlib.Path) -> None:
    with pooled(own_database, tmp_path, "session") as urls:
        with pytest.raises(CannotStart, match="stranger") as stopped:
            await Database(urls.application.replace("roomwire_app", "stranger")).open()
        assert not stopped.value.passing
