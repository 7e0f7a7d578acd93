"""One process of the sandbox, as its owner sees it: started, asked, killed, reaped. Nothing here blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, cast

from realtime.sandbox import frames
from realtime.sandbox.frames import AnswerReader, Confined, Garbled, Status

if TYPE_CHECKING:
    from realtime.sandbox.pool import Task

START_S = 15.0
_CHILD = pathlib.Path(__file__).with_name("child.py")
_REAP_S = (0.005, 0.25)
"""Pauses between looks at a process that is ending: the first, and the longest."""
_ENDING_S = 0.5
"""How long a process that has hung up may take to end before it is killed."""


class Gone(Exception):
    """The process hung up before it answered."""


class _Channel(asyncio.Protocol):
    """The owner's end of the pair of sockets."""

    def __init__(self) -> None:
        self.open = True
        self._reader: AnswerReader | None = None
        self._answer: asyncio.Future[tuple[Status, bytes]] | None = None
        self._hello = b""
        self.greeted: asyncio.Future[Confined] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def expect(self, number: int, answer_bytes: int) -> asyncio.Future[tuple[Status, bytes]]:
        self._reader = AnswerReader(number, answer_bytes)
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def data_received(self, data: bytes) -> None:
        try:
            if not self.greeted.done():
                self._hello += data
                if len(self._hello) >= frames.HELLO_BYTES:
                    self.greeted.set_result(frames.read_hello(self._hello))
            elif self._reader is None:
                raise Garbled  # nothing was asked
            elif (answer := self._reader.feed(data)) is not None:
                self._reader = None
                self._settle(answer)
        except Garbled as error:
            self._fail(error)

    def connection_lost(self, _error: Exception | None) -> None:
        self._fail(Gone())

    def _settle(self, answer: tuple[Status, bytes]) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def _fail(self, error: Exception) -> None:
        self.open = False
        if self.transport is not None:
            self.transport.abort()
        for future in (self.greeted, self._answer):
            if future is not None and not future.done():
                future.set_exception(error)
                future.exception()  # seen, if nobody waits any more


class Process:
    """Made by `start`.

    Attributes:
        tasks: How many it was given.
        killed: Whether we ended it.
        confined: What it was kept from.
    """

    def __init__(self, popen: subprocess.Popen[bytes], channel: _Channel) -> None:
        self._popen = popen
        self._channel = channel
        self.tasks = 0
        self.killed = False
        self.confined = Confined(0)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def usable(self) -> bool:
        """Whether it can be given a task."""
        return self._channel.open

    async def ask(self, task: Task, data: bytes) -> tuple[Status, bytes]:
        """Give it a task, after the one before was answered.

        Raises:
            Gone: it ended.
            Garbled: it answered what nobody asked.
        """
        if not self._channel.open or self._channel.transport is None:
            raise Gone
        self.tasks += 1
        # The number cannot be guessed: what was written before a task was given cannot pass for its answer.
        number = int.from_bytes(os.urandom(8), "big")
        answer = self._channel.expect(number, task.answer_bytes)
        self._channel.transport.write(frames.request(number, task.function, task.cpu_s, task.answer_bytes, data))
        self._channel.transport.write(data)
        return await answer

    def kill(self) -> None:
        """End it and everything that it started, now."""
        self._channel.open = False
        if self._channel.transport is not None:
            self._channel.transport.abort()
        if self._popen.returncode is None:
            self.killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)

    def reaped(self) -> bool:
        """Look whether it has ended, and let the system forget it."""
        return self._popen.poll() is not None

    async def status(self) -> int:
        """Return how it ended; it is killed if that takes long."""
        pause_s, waited_s = _REAP_S[0], 0.0
        while not self.reaped():
            if waited_s > _ENDING_S:
                self.kill()
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            pause_s = min(2 * pause_s, _REAP_S[1])
        assert self._popen.returncode is not None
        return self._popen.returncode


def spawn(memory_bytes: int) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process, in 2 ms: without `preexec_fn` Python uses vfork, which copies nothing of a large server.

    On the thread of the event loop, since the kernel ends it with the *thread* that made it.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            popen = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    "-B",
                    str(_CHILD),
                    str(theirs.fileno()),
                    str(os.getpid()),
                    str(memory_bytes),
                    _paths(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={"LC_ALL": "C.UTF-8"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    ours.setblocking(False)
    return popen, ours


async def start(memory_bytes: int, started: set[Process]) -> Process:
    """Start a process and wait until it can be given tasks.

    Args:
        memory_bytes: What it may map.
        started: It is added to these at once, so that it is ended whatever happens here.

    Raises:
        Gone: it ended at once.
        Garbled: it is something else.
        TimeoutError: it did not start in time.
        OSError: the system has none to give.
    """
    popen, ours = spawn(memory_bytes)
    channel = _Channel()
    process = Process(popen, channel)
    started.add(process)
    try:
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=ours)
        async with asyncio.timeout(START_S):
            process.confined = await channel.greeted
    except BaseException:
        process.kill()
        if channel.transport is None:
            ours.close()
        raise
    return process


def _paths() -> str:
    """Return where a process finds modules: this package, and where this process finds others."""
    return os.pathsep.join([str(_CHILD.parents[2]), *(path for path in sys.path if os.path.isabs(path))])
