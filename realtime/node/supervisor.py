"""Runs N workers on one port: starts, watches, restarts and stops them, and owns what they share."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import shutil
import signal
import sys
import tempfile
from typing import TYPE_CHECKING

from realtime.config import ConfigError, without_settings
from realtime.extensions.siblings import Place
from realtime.node import listening, serve, starting, worker
from realtime.node.engines import die_with_parent
from realtime.node.patience import Patience
from realtime.telemetry import logs

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from realtime.config import Config

logger = logging.getLogger(__name__)

_START_S = 60.0
_LOOK_S = 1.0
_SILENCE_S = 15.0  # without a sign of life a worker hangs: its connections get nothing, and no probe finds it for sure
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_SETTLED_S = 60.0  # a worker that lived so long starts its pauses anew
_GRACE_S = 10.0  # beyond the drain


def run(config: Config) -> int:
    """Run the workers until SIGTERM or SIGINT; return the exit status."""
    logs.configure(config.log_level, config.log_format)
    starting.stoppable()
    with (
        listening.bound(config.host, config.port, share=True) as sockets,
        serve.embedded(config) as found,
        _private_folder() as directory,
        asyncio.Runner() as runner,
    ):
        return runner.run(_supervise(config, *found, directory, sockets))


@contextlib.contextmanager
def _private_folder() -> Iterator[str]:
    # Its mode is 0700: whoever may connect to a worker there may hand it connections.
    try:
        folder = tempfile.TemporaryDirectory(prefix="roomwire-")
    except OSError as error:
        raise ConfigError(
            f"Workers need a folder for temporary files (TMPDIR), and none can be used: {error.strerror}."
        ) from error
    with folder as name:
        yield name


async def _supervise(config: Config, superuser_url: str, redis_url: str, directory: str, sockets: Sequence[socket.socket]) -> int:
    workers: list[_Worker] = []
    stop = serve.stop_signals(again=functools.partial(_end_at_once, workers, directory))
    await serve.redis_takes(config)
    urls = await starting.patiently(lambda: serve.migrated(config, superuser_url), stop, config.start_wait_s)
    if urls is None:
        return 0
    port = listening.port_of(sockets)
    for index in range(config.workers):
        own = dataclasses.replace(config, port=port, node_id=f"{config.node_id}-{index}" if config.node_id else "")
        order = worker.Order(own, urls.application, redis_url, Place(index, config.workers, directory))
        workers.append(_Worker(index, worker.encode(order) + b"\n", _START_S + config.start_wait_s))
    try:
        # One after the other: what is wrong is told once, by the first.
        for one in workers:
            status = await one.start(stop)
            if status:
                return status
        if not stop.is_set():
            serve.announce(config.host, sockets)
        await stop.wait()
        logger.info("stopping: %d workers drain", len(workers))
    finally:
        await _stop_all(workers, config.drain_s + _GRACE_S)
    return max(one.status for one in workers)


async def _stop_all(workers: list[_Worker], within_s: float) -> None:
    for one in workers:
        one.stop()
    tasks = [one.task for one in workers if one.task is not None]
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=within_s)
        for one in workers:
            one.kill()
        if late:
            logger.error("%d workers did not end in %.0f s and were killed", len(late), within_s)
            await asyncio.wait(late)


def _end_at_once(workers: list[_Worker], directory: str) -> None:
    for one in workers:
        one.kill()
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(1)


class _Worker:
    """One worker process, started again when it dies or hangs.

    Args:
        order: What it is told on standard input.
        start_s: How long it may take until its first sign of life.

    Attributes:
        task: Keeps it running; done when it has ended for good.
        status: The exit status of its last run.
    """

    def __init__(self, index: int, order: bytes, start_s: float) -> None:
        self.task: asyncio.Task[None] | None = None
        self.status = 0
        self._index = index
        self._order = order
        self._start_s = start_s
        self._process: asyncio.subprocess.Process | None = None
        self._listening = asyncio.Event()
        self._stopping = asyncio.Event()

    async def start(self, stop: asyncio.Event) -> int:
        """Return 0 once it takes connections (or `stop` is set), else the exit status that it ended with."""
        self.task = asyncio.create_task(self._keep())
        waits = [asyncio.create_task(event.wait()) for event in (self._listening, stop)]
        await asyncio.wait([self.task, *waits], return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return (self.status or 1) if self.task.done() else 0

    def stop(self) -> None:
        """Let it drain and end; it is not started again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = _FIRST_PAUSE_S
        while True:
            started_s = loop.time()
            try:
                self.status = await self._run()
            except Exception as error:  # noqa: BLE001 - no memory for a process, say: it is tried again
                logger.error("worker %d could not be run: %s", self._index, type(error).__name__)
                self.status = 1
            if self._stopping.is_set() or not self._listening.is_set():
                return
            if loop.time() - started_s > _SETTLED_S:
                pause_s = _FIRST_PAUSE_S
            logger.error("worker %d ended with status %d and is started again", self._index, self.status)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
                return
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _run(self) -> int:
        """Run it once, for as long as it gives signs of life; return its exit status."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", worker.__name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=without_settings(os.environ),
            start_new_session=True,  # Ctrl-C is for us; we tell the workers
            preexec_fn=die_with_parent(signal.SIGKILL),
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None  # they are pipes
        process.stdin.write(self._order)
        if self._stopping.is_set():
            process.terminate()
        now = asyncio.get_running_loop().time
        patience = Patience(self._start_s, now())
        while True:
            reading = asyncio.create_task(process.stdout.read(1024))
            while not (await asyncio.wait([reading], timeout=_LOOK_S))[0] and not patience.over(now()):
                pass
            if not reading.done():
                logger.error("worker %d gave no sign of life for %.0f s and is killed", self._index, patience.limit_s)
                process.kill()
            if not await reading:
                break
            self._listening.set()
            patience.sign(_SILENCE_S)
        return await process.wait()
