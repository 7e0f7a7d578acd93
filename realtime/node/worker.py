"""One of the worker processes of a server with several: a node that was started, and is watched, by `supervisor`."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
import uvloop

from realtime import tasks
from realtime.config import Config
from realtime.extensions.siblings import Place
from realtime.node import listening, serve
from realtime.telemetry import logs

BEAT_S = 1.0
"""Pause between two signs of life on standard output; the first one says that the worker takes connections."""


class Order(msgspec.Struct, frozen=True):
    """What a worker is told, as one line of JSON on standard input: URLs with passwords show in no list of processes."""

    config: Config
    database_url: str
    redis_url: str
    place: Place


encode = msgspec.json.Encoder().encode


def main() -> int:
    """Serve as ordered; return the exit status."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    logs.configure(order.config.log_level, order.config.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return serve.told(lambda: runner.run(_work(order)))


async def _work(order: Order) -> int:
    stop = serve.stop_signals(again=lambda: None)  # the supervisor kills when it is in a hurry
    # Standard input ends when the supervisor does; then nobody holds the data directory or looks after the engines.
    asyncio.get_running_loop().add_reader(sys.stdin, os._exit, 1)
    beating: list[asyncio.Task[None]] = []

    def ready() -> None:
        beating.append(asyncio.create_task(_beat()))

    sockets = listening.join(order.config.host, order.config.port)
    try:
        await serve.serve(order.config, order.database_url, order.redis_url, stop, ready, sockets, order.place)
    finally:
        await tasks.end(beating)
        for one in sockets:
            one.close()
    return 0


async def _beat() -> None:
    while True:
        os.write(sys.stdout.fileno(), b".")
        await asyncio.sleep(BEAT_S)


if __name__ == "__main__":
    sys.exit(main())
