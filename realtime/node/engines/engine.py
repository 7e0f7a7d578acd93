"""One supervised child process: started, restarted when it dies, stopped; and several of them side by side."""

from __future__ import annotations

import contextlib
import enum
import logging
import queue
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from realtime.node.engines.directory import open_private
from realtime.node.engines.process import EngineError, last_words, no_room, said_as_engine_error, spawn
from realtime.node.patience import Patience

if TYPE_CHECKING:
    import pathlib
    import pwd
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

_START_S = 30.0
"""How long it may give no sign of life while it starts."""
_STOP_S = 15.0
_LOOK_S = 0.02
_LOOK_AGAIN_S = 0.5  # while it recovers: PostgreSQL writes a line for each question
_TELL_S = 10.0
_WORDS_BYTES = 16384


class Answer(enum.Enum):
    """What an engine says when it is asked whether it is there."""

    YES = enum.auto()
    STARTING = enum.auto()  # it lives, and is busy with its start
    NO = enum.auto()


class Stopped(Exception):
    """The engine is to stop, in the middle of its start."""


class Engine:
    """One supervised child process: started, restarted when it dies, stopped.

    Args:
        name: For messages.
        log: Where its output goes.
        user: Whom it runs as, when that is somebody else.
        stop_signal: What ends it cleanly; also sent by the kernel when this process dies (Linux).
    """

    def __init__(self, name: str, log: pathlib.Path, user: pwd.struct_passwd | None, stop_signal: signal.Signals) -> None:
        self._name = name
        self._log = log
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._words_from = 0  # where in the log its output begins
        self._stopping = threading.Event()
        # Held while a process is made and while it is decided to stop, so that none is made afterwards.
        self._making = threading.Lock()
        self._outcome: queue.SimpleQueue[EngineError | None] = queue.SimpleQueue()
        # The thread that launches the process lives as long as it: the kernel's "parent died" is about threads.
        self._watcher = threading.Thread(target=self._watch, name=f"watch {name}", daemon=True)

    def begin(self, outcome: queue.SimpleQueue[EngineError | None]) -> None:
        """Begin to start; `outcome` gets None once it answers, or what went wrong."""
        self._outcome = outcome
        self._watcher.start()

    def stop(self) -> None:
        """Stop it cleanly; after a bound, at once. It may still be starting."""
        with self._making:
            self._stopping.set()
            process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(self._stop_signal)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                logger.warning("%s did not stop in %d s and is killed", self._name, _STOP_S)
                process.kill()
                process.wait()
        if self._watcher.is_alive():
            self._watcher.join()

    def _prepare(self) -> None:
        """Do what must be done once before the first launch."""

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[Sequence[int]]:
        """Make sure before each launch that nobody else runs on its files; yield descriptors that it inherits."""
        yield ()

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _answers(self) -> Answer:
        raise NotImplementedError

    def _run(self, command: Sequence[str], keep_open: Sequence[int] = ()) -> subprocess.Popen[bytes]:
        with open_private(self._log) as output, self._making:
            if self._stopping.is_set():
                raise Stopped
            self._words_from = output.seek(0, 2)
            self._process = spawn(command, output.fileno(), self._user, self._stop_signal, keep_open)
        return self._process

    def _launch(self) -> None:
        with self._claimed() as keep_open:
            process = self._run(self._command(), keep_open)
        now_s = time.monotonic()
        patience = Patience(_START_S, now_s)
        tell_from_s = now_s + _TELL_S / 2
        # There is nothing to wait on: a server says that it listens by listening.
        while (answer := self._answers()) is not Answer.YES:
            if process.poll() is not None:
                raise EngineError(f"{self._name} did not start: {self._last_words()}.")
            now_s = time.monotonic()
            if answer is Answer.STARTING:
                patience.sign()
                if now_s >= tell_from_s:
                    tell_from_s = now_s + _TELL_S
                    logger.warning("%s", self._progress())
            if patience.over(now_s):
                process.kill()
                process.wait()
                raise EngineError(f"{self._name} does not answer after {_START_S:.0f} s; its log is {self._log}.")
            if self._stopping.wait(_LOOK_AGAIN_S if answer is Answer.STARTING else _LOOK_S):
                raise Stopped

    def _watch(self) -> None:
        try:
            with said_as_engine_error(self._name):
                self._prepare()
                self._launch()
        except EngineError as error:
            self._outcome.put(error)
            return
        except Stopped:
            self._outcome.put(EngineError(f"{self._name} was stopped while it started."))
            return
        self._outcome.put(None)
        self._keep_alive()

    def _keep_alive(self) -> None:
        pause_s = 0.1
        while True:
            assert self._process is not None  # _launch() made it
            started_s = time.monotonic()
            status = self._process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > 60:
                pause_s = 0.1
            logger.error("%s ended with status %d and is started again; its log is %s", self._name, status, self._log)
            while True:
                if self._stopping.wait(pause_s):
                    return
                pause_s = min(pause_s * 2, 10)
                try:
                    self._launch()
                except Stopped:
                    return
                except (EngineError, OSError) as error:
                    logger.error("%s", error)
                else:
                    break

    def _output(self) -> str:
        """Return what it wrote since it was launched, or the end of that."""
        try:
            with self._log.open("rb") as log:
                log.seek(max(self._words_from, log.seek(0, 2) - _WORDS_BYTES))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def _last_words(self) -> str:
        words = last_words(self._output()).rstrip(".")
        if full := no_room(self._log.parent):
            words = f"{words}; {full}" if words and "No space left" not in words else full
        status = self._process.poll() if self._process is not None else None
        return (words or f"it ended with status {status} and said nothing") + f" (its log: {self._log})"

    def _progress(self) -> str:
        return f"{self._name} is still starting"


def start_all(engines: Sequence[Engine]) -> None:
    """Start engines side by side.

    Raises:
        EngineError: of the first that fails; the others are stopped then, as they are when anything interrupts this.
    """
    outcomes: queue.SimpleQueue[EngineError | None] = queue.SimpleQueue()
    try:
        for engine in engines:
            engine.begin(outcomes)
        for _ in engines:
            failure = outcomes.get()
            if failure is not None:
                raise failure
    except BaseException:
        stop_all(engines)
        raise


def stop_all(engines: Sequence[Engine]) -> None:
    """Stop engines, the last first."""
    for engine in reversed(engines):
        engine.stop()
