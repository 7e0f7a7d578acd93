"""The real engines after crashes: whatever was left behind they start, and never beside one that runs."""

from __future__ import annotations

import os
import pathlib
import subprocess
from typing import TYPE_CHECKING

import asyncpg
import pytest

from realtime.node import engines
from realtime.node.engines import leftovers
from realtime.node.engines.postgres import programs
from realtime.node.engines.process import unprivileged
from tests.process import readable

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def crashed(tmp_path: pathlib.Path) -> pathlib.Path:
    """A data directory whose PostgreSQL was killed with -9."""
    data = readable(tmp_path) / "data"
    data.mkdir(mode=0o711)
    postgres = engines.Postgres(data, durable=False)
    engines.start_all([postgres])
    kill(postgres)
    assert (data / "postgres" / "postmaster.pid").exists()
    return data


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of PostgreSQL's user that has nothing to do with it."""
    user = unprivileged()
    process = subprocess.Popen(["sleep", "120"], user=user.pw_uid if user else None, cwd="/")
    yield process
    assert process.poll() is None, "nobody else is ended"
    process.kill()
    process.wait()


def kill(postgres: engines.Postgres) -> None:
    """End PostgreSQL as kill -9 does, and do not start it again."""
    assert postgres._process is not None
    postgres._stopping.set()
    postgres._process.kill()
    postgres._watcher.join()


def note(data: pathlib.Path) -> leftovers.Note | None:
    try:
        return leftovers.read_note((data / "postgres" / "postmaster.pid").read_text())
    except FileNotFoundError:
        return None


async def starts(data: pathlib.Path) -> None:
    postgres = engines.Postgres(data, durable=False)
    engines.start_all([postgres])
    try:
        connection = await asyncpg.connect(postgres.dsn)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()
        assert engines.running_dsn(data) == postgres.dsn
    finally:
        engines.stop_all([postgres])


async def test_it_starts_although_its_old_number_belongs_to_another_process(
    crashed: pathlib.Path, stranger: subprocess.Popen[bytes]
) -> None:
    for path in (crashed / "postgres" / "postmaster.pid", crashed / "run-postgres" / ".s.PGSQL.5432.lock"):
        rest = path.read_text().partition("\n")[2]
        path.write_text(f"{stranger.pid}\n{rest}")
    await starts(crashed)


@pytest.mark.parametrize("left", ["", "\0\0\0", "nonsense\n"])
async def test_it_starts_although_its_note_was_damaged(crashed: pathlib.Path, left: str) -> None:
    (crashed / "postgres" / "postmaster.pid").write_text(left)
    await starts(crashed)


async def test_one_that_outlived_its_server_is_stopped_first(crashed: pathlib.Path) -> None:
    orphan = engines.Postgres(crashed, durable=False)
    engines.start_all([orphan])
    orphan._stopping.set()  # nobody looks after it any more
    assert orphan._process is not None
    await starts(crashed)
    assert orphan._process.wait(10) == 0, "it was let end cleanly"


def test_one_that_somebody_else_started_on_the_files_is_left_alone(crashed: pathlib.Path) -> None:
    user = unprivileged()
    command = [str(programs() / "postgres"), "-D", ".", "-c", "listen_addresses=", "-k", "."]
    other = subprocess.Popen(
        command, cwd=crashed / "postgres", user=user.pw_uid if user else None, group=user.pw_gid if user else None,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not (said := note(crashed)) or said.pid != other.pid or not said.ready:
            assert other.poll() is None
            os.sched_yield()
        before = (crashed / "postgres" / "postmaster.pid").read_text()
        with pytest.raises(engines.EngineError, match=rf"did not start \(process {other.pid}\) runs on .*: stop it first"):
            engines.start_all([engines.Postgres(crashed, durable=False)])
        assert (crashed / "postgres" / "postmaster.pid").read_text() == before
        assert other.poll() is None
    finally:
        other.terminate()
        other.wait()


@pytest.mark.parametrize(
    ("stray", "engine"),
    [
        ("postgres.new", "PostgreSQL"),
        ("postgres", "PostgreSQL"),
        ("run-postgres", "PostgreSQL"),
        ("postgres.lock/", "PostgreSQL"),
        ("postgres.log/", "PostgreSQL"),
        ("run-redis", "Redis"),
        ("redis.log/", "Redis"),
    ],
)
def test_a_stray_file_is_told_at_once_and_nothing_stays_behind(tmp_path: pathlib.Path, stray: str, engine: str) -> None:
    data = readable(tmp_path) / "data"
    data.mkdir(mode=0o711)
    if stray.endswith("/"):
        (data / stray).mkdir()
    else:
        (data / stray).touch()
    with pytest.raises(engines.EngineError, match=rf"^{engine} (cannot start|did not start).*\.$"):
        engines.start_all([engines.Postgres(data, durable=False), engines.Redis(data)])
    here = str(data)
    assert not [one for one in leftovers.processes() if any(here in part for part in one.command)]


def test_nothing_in_the_data_directory_is_for_others(crashed: pathlib.Path) -> None:
    redis = engines.Redis(crashed)
    engines.start_all([redis])
    engines.stop_all([redis])
    open_to_others = [str(path) for path in crashed.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
    assert open_to_others == []
