"""The sandbox: functions on foreign bytes, run in a few small processes beside the server.

A task may crash, fill its memory, loop for ever or hold its interpreter: it costs its own answer, and no connection. No process
is started before the first task.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.sandbox import process as processes
from realtime.sandbox.frames import MAX_BYTES, MAX_NAME_BYTES, Confined, Garbled, Status
from realtime.sandbox.process import Gone, Process
from realtime.sandbox.refusals import OF_STATUS, Reason, Refused, of_exit

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", re.ASCII).fullmatch
_REAP_S = 0.05
_CLOSE_S = 5.0
_COMPLAIN_S = 60.0
_SENTENCES = 100


@dataclass(frozen=True, slots=True)
class Task:
    """A function that runs on foreign bytes, and what it may cost. Declared once, as a constant of a capability.

    The function takes bytes and returns bytes. It raises ValueError for data that is not what it should be. Its module is
    imported in the process: it should import little, and nothing that runs the server. It can write no file, and start no
    process and no thread.

    Attributes:
        name: Label of the metrics: `thumbnail`.
        function: `module:function`.
        deadline_s: By the clock, from the moment in which a process has it.
        cpu_s: Of its process's CPU.
        input_bytes: How large its data may be.
        answer_bytes: How large its answer may be.
    """

    name: str
    function: str
    deadline_s: float
    cpu_s: int
    input_bytes: int
    answer_bytes: int

    def __post_init__(self) -> None:
        named = _FUNCTION(self.function) and len(self.function) <= MAX_NAME_BYTES
        sized = 0 <= self.input_bytes <= MAX_BYTES and 0 <= self.answer_bytes <= MAX_BYTES
        if not named or not sized or self.deadline_s <= 0 or not 0 < self.cpu_s <= 3600:
            raise ValueError(f"The task {self.name} cannot be one of the sandbox.")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the sandbox may cost.

    Attributes:
        processes: At once.
        memory_bytes: What each may map.
        tasks: After how many each is replaced: what leaks, or was taken over, lives no longer.
        waiting: How many tasks may wait for a process.
        waiting_bytes: And how much data with them.
    """

    processes: int = 2
    memory_bytes: int = 512 << 20
    tasks: int = 100
    waiting: int = 64
    waiting_bytes: int = 64 << 20


class Sandbox:
    """Runs tasks.

    Args:
        settings: What it may cost.
        observed: Called for each task with its name, `ok` or the reason of the refusal, and its seconds.
        started: Called for each process that is started.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        observed: Callable[[str, str, float], None] = lambda _task, _outcome, _seconds: None,
        started: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._observed = observed
        self._started = started
        self._turns = asyncio.Semaphore(settings.processes)
        self._idle: list[Process] = []
        self._alive: set[Process] = set()  # until they are reaped
        self._reaping: asyncio.TimerHandle | None = None
        self._closed = False
        self._complain_from_s: dict[str, float] = {}
        self.waiting = 0
        """Tasks that wait for a process."""
        self._waiting_bytes = 0

    @property
    def alive(self) -> int:
        """Processes, with those that are ending."""
        return len(self._alive)

    async def run(self, task: Task, data: bytes) -> bytes:
        """Run a task's function on some data, in a process.

        A caller that is cancelled ends the process with the task.

        Raises:
            Refused: there is no answer.
        """
        began_s, outcome = time.monotonic(), "cancelled"
        try:
            answer = await self._in_turn(task, data)
            outcome = "ok"
        except Refused as refused:
            outcome = refused.reason.value
            raise
        finally:
            self._observed(task.name, outcome, time.monotonic() - began_s)
        return answer

    async def close(self) -> None:
        """End all processes and refuse every task from now on."""
        self._closed = True
        for process in self._alive:
            process.kill()
        self._idle.clear()
        until_s = time.monotonic() + _CLOSE_S
        while self._reap() and time.monotonic() < until_s:
            await asyncio.sleep(0.005)
        if self._reaping is not None:
            self._reaping.cancel()

    async def _in_turn(self, task: Task, data: bytes) -> bytes:
        if len(data) > task.input_bytes:
            raise Refused(Reason.LARGE)
        settings = self._settings
        if self._turns.locked() and (
            self.waiting >= settings.waiting or self._waiting_bytes + len(data) > settings.waiting_bytes
        ):  # fmt: skip
            raise Refused(Reason.OVERLOADED)
        self.waiting += 1
        self._waiting_bytes += len(data)
        try:
            async with asyncio.timeout(task.deadline_s):
                await self._turns.acquire()
        except TimeoutError:
            raise Refused(Reason.OVERLOADED) from None
        finally:
            self.waiting -= 1
            self._waiting_bytes -= len(data)
        try:
            return await self._carry_out(task, data)
        finally:
            self._turns.release()

    async def _carry_out(self, task: Task, data: bytes) -> bytes:
        process = await self._process()
        keep = False
        try:
            async with asyncio.timeout(task.deadline_s):
                status, body = await process.ask(task, data)
            keep = status is not Status.MEMORY and process.tasks < self._settings.tasks
        except TimeoutError:
            raise Refused(Reason.TIME) from None
        except Garbled:
            self._complain(f"a process of the sandbox answered {task.name} with what nobody asked, and was killed")
            raise Refused(Reason.CRASHED) from None
        except Gone:
            raise Refused(await self._why_gone(process)) from None
        finally:
            self._put_back(process, keep=keep)
        if status is Status.OK:
            return body
        if status is Status.FAILED:
            self._complain(f"the function of the task {task.name} raised {_class_name(body)}")
        raise Refused(OF_STATUS[status])

    async def _why_gone(self, process: Process) -> Reason:
        if self._closed:
            return Reason.CLOSED
        status = await process.status()
        return Reason.CRASHED if process.killed else of_exit(status)

    async def _process(self) -> Process:
        if self._closed:
            raise Refused(Reason.CLOSED)
        while self._idle:
            process = self._idle.pop()
            if process.usable:
                return process
            self._put_back(process, keep=False)
        self._started()
        try:
            process = await processes.start(self._settings.memory_bytes, self._alive)
        except (Gone, Garbled, TimeoutError, OSError) as error:
            self._complain(f"no process of the sandbox could be started: {type(error).__name__}")
            raise Refused(Reason.CLOSED if self._closed else Reason.OVERLOADED) from None
        finally:
            self._reap()
        if left := [one.name for one in Confined if one not in process.confined]:
            self._complain(
                f"this system cannot take away from the processes of the sandbox: {', '.join(map(str, left))}", once=True
            )
        return process

    def _put_back(self, process: Process, *, keep: bool) -> None:
        if keep and not self._closed:
            self._idle.append(process)
        else:
            process.kill()
            self._reap()

    def _reap(self) -> int:
        """Let the system forget processes that have ended; return how many are left of those that must."""
        self._alive -= {one for one in self._alive if not one.usable and one.reaped()}
        left = sum(not one.usable for one in self._alive)
        if self._reaping is not None:
            self._reaping.cancel()
            self._reaping = None
        if left and not self._closed:
            self._reaping = asyncio.get_running_loop().call_later(_REAP_S, self._reap)
        return left

    def _complain(self, sentence: str, *, once: bool = False) -> None:
        now_s = time.monotonic()
        if now_s < self._complain_from_s.get(sentence, 0.0):
            return
        if len(self._complain_from_s) >= _SENTENCES:  # some hold what a process said
            self._complain_from_s.clear()
        self._complain_from_s[sentence] = math.inf if once else now_s + _COMPLAIN_S
        if once:
            logger.info("%s", sentence)
        else:
            logger.warning("%s; said once a minute", sentence)


def _class_name(body: bytes) -> str:
    """Return the name of a class as a process told it, if it is one."""
    text = body.decode("ascii", "replace")
    return text if text.isidentifier() and text.isascii() else "something"
