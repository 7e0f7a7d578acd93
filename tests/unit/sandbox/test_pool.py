"""Whatever a function does on foreign bytes costs its own answer: the sandbox says why, and works on."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import dataclasses
import logging
import os
import pathlib
import signal
import subprocess
import sys
import time
import zlib
from typing import TYPE_CHECKING

import pytest

from realtime.sandbox.frames import MAX_BYTES, Confined
from realtime.sandbox.pool import Sandbox, Settings, Task
from realtime.sandbox.process import Process, _Channel
from realtime.sandbox.refusals import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENT_S = 30.0
ROOT = pathlib.Path(__file__).parents[3]


def task(function: str, deadline_s: float = PATIENT_S, cpu_s: int = 20, answer_bytes: int = 1 << 16) -> Task:
    return Task(function, f"tests.unit.sandbox.functions:{function}", deadline_s, cpu_s, 1 << 20, answer_bytes)


class Box:
    """A sandbox, and what it told."""

    def __init__(self, settings: Settings) -> None:
        self.outcomes: list[tuple[str, str]] = []
        self.starts = 0
        self.sandbox = Sandbox(
            settings, observed=lambda name, outcome, _s: self.outcomes.append((name, outcome)), started=self.start
        )

    def start(self) -> None:
        self.starts += 1

    async def run(self, function: str, data: bytes = b"", **limits: float) -> bytes:
        return await self.sandbox.run(task(function, **limits), data)  # type: ignore[arg-type]

    async def reason(self, function: str, data: bytes = b"", **limits: float) -> Reason:
        with pytest.raises(Refused) as refused:
            await self.run(function, data, **limits)
        return refused.value.reason

    @property
    def pids(self) -> set[int]:
        return {one.pid for one in self.sandbox._alive}


@contextlib.asynccontextmanager
async def box(**settings: int) -> AsyncIterator[Box]:
    made = Box(Settings(**{"processes": 1, "memory_bytes": 128 << 20, **settings}))
    try:
        yield made
    finally:
        pids = made.pids
        await made.sandbox.close()
        assert not made.pids, "all are reaped"
        assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def until(true: object) -> None:
    assert callable(true)
    async with asyncio.timeout(PATIENT_S):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_task_is_answered_with_what_its_function_returns() -> None:
    async with box() as made:
        assert await made.run("echo", b"\0bytes\xff") == b"\0bytes\xff"
        assert await made.run("echo", b"") == b""
        large = os.urandom(1 << 20)
        assert await made.run("echo", large, answer_bytes=1 << 20) == large
        assert made.outcomes == [("echo", "ok")] * 3
        assert made.starts == 1


async def test_a_function_uses_the_standard_library_and_what_is_installed() -> None:
    async with box() as made:
        assert await made.run("compress_json", b"[1, 2]") == zlib.compress(b"[1,2]")


@pytest.mark.parametrize(
    ("function", "data", "limits", "expected"),
    [
        ("refuse", b"", {}, Reason.REFUSED),
        ("fail", b"", {}, Reason.FAILED),
        ("odd_failure", b"", {}, Reason.FAILED),
        ("there_is_no_such_function", b"", {}, Reason.FAILED),
        ("leave", b"", {}, Reason.CRASHED),
        ("abort", b"", {}, Reason.CRASHED),
        ("segfault", b"", {}, Reason.CRASHED),
        ("fill_memory", b"", {}, Reason.MEMORY),
        ("fill_memory_at_once", b"", {}, Reason.MEMORY),
        ("loop", b"", {"cpu_s": 1}, Reason.TIME),
        ("loop", b"", {"deadline_s": 0.2}, Reason.TIME),
        ("hold_the_interpreter", b"", {"deadline_s": 0.2}, Reason.TIME),
        ("sleep", b"60", {"deadline_s": 0.2}, Reason.TIME),
        ("zeros", b"101", {"answer_bytes": 100}, Reason.LARGE),
        ("write_garbage", b"garbage, and more than a head", {}, Reason.CRASHED),
        ("write_garbage", b"\0" * 9 + b"\xff" * 4, {}, Reason.CRASHED),
        ("hang_up", b"", {}, Reason.CRASHED),
    ],
)
async def test_whatever_a_function_does_the_refusal_says_it_and_the_next_task_is_carried_out(
    function: str, data: bytes, limits: dict[str, float], expected: Reason
) -> None:
    async with box() as made:
        assert await made.reason(function, data, **limits) is expected
        assert await made.run("echo", b"next") == b"next"
        assert made.outcomes == [(function, expected.value), ("echo", "ok")]


async def test_an_answer_that_nobody_asked_for_ends_the_process() -> None:
    async with box() as made:
        assert await made.reason("answer_twice", b"x") is Reason.CRASHED
        assert await made.run("echo", b"next") == b"next"


async def test_data_that_is_too_large_is_refused_without_a_process() -> None:
    async with box() as made:
        assert await made.reason("echo", bytes((1 << 20) + 1)) is Reason.LARGE
        assert made.starts == 0


async def test_a_process_is_kept_when_its_function_only_refused() -> None:
    async with box() as made:
        first = await made.run("pid")
        await made.reason("refuse")
        await made.reason("fail")
        await made.reason("zeros", b"101", answer_bytes=100)
        assert await made.run("pid") == first


async def test_a_process_is_replaced_after_its_share_of_tasks() -> None:
    async with box(tasks=3) as made:
        pids = [await made.run("pid") for _ in range(7)]
        assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
        await until(lambda: made.sandbox.alive == 1)


async def test_a_process_that_ended_while_it_was_idle_is_replaced() -> None:
    async with box() as made:
        pid = int(await made.run("pid"))
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not made.sandbox._idle[0].usable)
        assert int(await made.run("pid")) != pid


async def test_what_a_function_started_ends_with_its_process() -> None:
    # Where the system can forbid it nothing is started; so here another program plays the process.
    command = ["/bin/sh", "-c", "sleep 60 & echo $!; wait"]
    popen = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)  # noqa: ASYNC220 - in a test
    with popen:
        assert popen.stdout is not None
        child = int(await asyncio.to_thread(popen.stdout.readline))
        assert is_running(child)
        Process(popen, _Channel()).kill()
    await until(lambda: not is_running(child))


def is_running(pid: int) -> bool:
    """Whether it runs; what nobody has reaped yet does not."""
    try:
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


# -- the loop and the callers ---------------------------------------------------------------------


async def test_many_tasks_that_hold_their_interpreter_do_not_hold_the_loop() -> None:
    async with box(processes=2) as made:
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        ticking = asyncio.ensure_future(tick())
        began_s = time.monotonic()
        answers = await asyncio.gather(*(made.run("hold_the_interpreter_a_while") for _ in range(20)))
        took_s = time.monotonic() - began_s
        ticking.cancel()
        assert answers == [b"done"] * 20
        assert made.starts == 2
        assert turns > 50 * took_s, "the loop went round all the while"


async def test_tasks_wait_in_turn_and_no_more_than_are_allowed() -> None:
    async with box(waiting=2) as made:
        first = asyncio.ensure_future(made.run("sleep", b"0.3"))
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(made.run("echo", bytes([number]))) for number in range(2)]
        await asyncio.sleep(0)
        assert made.sandbox.waiting == 2
        assert await made.reason("echo") is Reason.OVERLOADED
        assert await asyncio.gather(first, *others) == [b"awake", b"\0", b"\1"]
        assert made.sandbox.waiting == 0


async def test_the_data_that_waits_is_bounded_too() -> None:
    async with box(waiting_bytes=1000) as made:
        first = asyncio.ensure_future(made.run("sleep", b"0.3"))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(made.run("echo", bytes(900)))
        await asyncio.sleep(0)
        assert await made.reason("echo", bytes(101)) is Reason.OVERLOADED
        assert [len(one) for one in await asyncio.gather(first, second)] == [5, 900]


async def test_a_task_that_never_gets_its_turn_says_so_and_harms_nobody() -> None:
    async with box() as made:
        first = asyncio.ensure_future(made.run("sleep", b"0.5"))
        await asyncio.sleep(0)
        assert await made.reason("echo", deadline_s=0.05) is Reason.OVERLOADED
        assert await first == b"awake"


async def test_a_caller_that_is_cancelled_ends_its_process_and_frees_its_place() -> None:
    async with box() as made:
        pid = int(await made.run("pid"))
        running = asyncio.ensure_future(made.run("loop"))
        await until(lambda: not made.sandbox._idle)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert made.outcomes[-1] == ("loop", "cancelled")
        assert int(await made.run("pid")) != pid
        await until(lambda: not is_alive(pid))


async def test_a_caller_that_is_cancelled_while_its_process_starts_leaves_none() -> None:
    async with box() as made:
        for pause_s in (0, 0.002, 0.01):
            starting = asyncio.ensure_future(made.run("echo"))
            await asyncio.sleep(pause_s)
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
        assert await made.run("echo", b"next") == b"next"
        await until(lambda: made.sandbox.alive == 1)


async def test_nothing_is_started_before_the_first_task_and_nothing_after_the_end() -> None:
    made = Box(Settings(processes=1))
    assert made.sandbox.alive == 0
    running, waiting = (asyncio.ensure_future(made.reason("sleep", b"60")) for _ in range(2))
    await until(lambda: made.pids)
    await made.sandbox.close()
    assert set(await asyncio.gather(running, waiting)) == {Reason.CLOSED}
    assert await made.reason("echo") is Reason.CLOSED
    assert (made.sandbox.alive, made.starts) == (0, 1)


@pytest.mark.parametrize("program", ["/bin/false", "/nowhere/python"])
async def test_a_process_that_cannot_be_started_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    async with box() as made:
        for _ in range(3):
            assert await made.reason("echo") is Reason.OVERLOADED
        await until(lambda: made.sandbox.alive == 0)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["no process of the sandbox could be started"]


async def test_neither_refusals_nor_logs_hold_what_a_function_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with box() as made:
        for function in ("refuse", "odd_failure", "fail"):
            with pytest.raises(Refused) as refused:
                await made.run(function, b"s3cret")
            assert "s3cret" not in repr(refused.value)
    assert "s3cret" not in caplog.text
    assert "raised something" in caplog.text and "raised KeyError" in caplog.text


def test_a_task_that_cannot_work_is_refused_when_it_is_declared() -> None:
    good = task("echo")
    for wrong in (
        {"function": "os.system"},
        {"function": "os:system; x"},
        {"function": "a:" + "b" * 300},
        {"deadline_s": 0},
        {"cpu_s": 0},
        {"answer_bytes": MAX_BYTES + 1},
        {"input_bytes": -1},
    ):
        with pytest.raises(ValueError, match="cannot be one of the sandbox"):
            dataclasses.replace(good, **wrong)


# -- what a process has ---------------------------------------------------------------------------


async def test_a_process_has_no_environment_no_descriptors_of_ours_and_nothing_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROOMWIRE_DATABASE_URL", "postgresql://me:s3cret@db/x")
    inherited, other = os.pipe()
    os.set_inheritable(inherited, True)
    try:
        async with box() as made:
            found = ast.literal_eval((await made.run("surroundings")).decode())
    finally:
        os.close(inherited)
        os.close(other)
    assert found["environment"] in (["LC_ALL"], ["LC_ALL", "LC_CTYPE"])
    assert found["descriptors"] == 4
    assert (found["nice"] >= 10, found["group"], found["folder"]) == (True, True, "/")
    modules = set(found["modules"])
    ours = {name for name in modules if name.startswith("realtime")}
    assert ours == {"realtime", "realtime.sandbox"} | {
        f"realtime.sandbox.{name}" for name in ("confinement", "frames", "landlock", "seccomp")
    }
    assert not modules & {"asyncio", "typing", "aiohttp", "asyncpg", "msgspec", "site", "logging", "subprocess"}
    limits = found["limits"]
    assert (limits["RLIMIT_CORE"], limits["RLIMIT_FSIZE"], limits["RLIMIT_NOFILE"]) == (0, 0, 64)
    assert limits["RLIMIT_AS"] == 128 << 20
    assert 20 < limits["RLIMIT_CPU"] < 25


async def test_a_process_writes_no_file(tmp_path: pathlib.Path) -> None:
    async with box() as made:
        assert await made.run("write", str(tmp_path / "file").encode()) in (b"OSError", b"PermissionError")
        assert not (tmp_path / "file").exists() or not (tmp_path / "file").stat().st_size


async def test_a_process_has_no_network_where_the_system_allows_that() -> None:
    asked = 0

    def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with box() as made:
        said = await made.run("connect", f"127.0.0.1 {port}".encode())
        if Confined.NETWORK in made.sandbox._idle[0].confined:
            assert (said, asked) == (b"PermissionError", 0)
        else:
            assert said == b"connected"
    server.close()


async def test_a_process_does_nothing_to_another_of_its_user_and_starts_none_where_the_system_allows_that() -> None:
    with subprocess.Popen(["/bin/sleep", "60"]) as other:  # noqa: ASYNC220 - in a test
        try:
            async with box() as made:
                said = await made.run("disturb", str(other.pid).encode())
                if Confined.NETWORK in made.sandbox._idle[0].confined:
                    assert said == b"[]"
            assert other.poll() is None
        finally:
            other.kill()


async def test_a_process_reads_neither_the_servers_environment_nor_its_files_where_the_system_allows_that(
    tmp_path: pathlib.Path,
) -> None:
    secret = tmp_path / "key"
    secret.write_text("s3cret")
    async with box() as made:
        for path in (secret, pathlib.Path(f"/proc/{os.getpid()}/environ"), pathlib.Path("/etc/passwd"), ROOT / "pyproject.toml"):
            said = await made.run("read", str(path).encode())
            if Confined.FILES in made.sandbox._idle[0].confined:
                assert said == b"PermissionError", path
            else:
                assert said == path.read_bytes()
        assert b"def test_" in await made.run("read", __file__.encode()), "what it imports it reads"


async def test_a_system_that_cannot_confine_is_said_once_and_the_rest_works(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("realtime.sandbox.frames.read_hello", lambda _data: Confined.FILES)
    async with box(tasks=1) as made:
        for _ in range(2):
            assert await made.run("echo", b"x") == b"x"
    assert [record.getMessage() for record in caplog.records] == [
        "this system cannot take away from the processes of the sandbox: NETWORK"
    ]


OWNER = """
import asyncio, sys
from realtime.sandbox.pool import Sandbox, Settings
from tests.unit.sandbox.test_pool import task

async def main():
    sandbox = Sandbox(Settings(processes=2))
    idle = await sandbox.run(task("pid"), b"")
    going = asyncio.ensure_future(sandbox.run(task("hold_the_interpreter", 600), b""))
    while sandbox._idle:
        await asyncio.sleep(0.01)
    other = await sandbox.run(task("pid"), b"")
    print(idle.decode(), other.decode(), flush=True)
    await going

asyncio.run(main())
"""


async def test_processes_end_with_their_owner_even_when_it_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, cwd=ROOT) as owner:  # noqa: ASYNC220 - in a test
        assert owner.stdout is not None
        line = await asyncio.to_thread(owner.stdout.readline)
        pids = [int(pid) for pid in line.split()]
        assert len(set(pids)) == 2 and all(is_running(pid) for pid in pids)
        owner.kill()
        await until(lambda: not any(is_running(pid) for pid in pids))
