"""Answers to the requests of connections: at once, or in their turn.

Requests that must wait (subscribe) run one after the other per connection, on a task that exists only while there is one.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from realtime import errors, tasks
from realtime.wire import socket
from realtime.wire.types import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    from realtime.surface.socket.peer import Peer

    Finish: TypeAlias = Callable[[Callable[[bytes], None]], None]
    """What is still to be done in the turn of the ack: it is called with what sends that."""

logger = logging.getLogger(__name__)

MAX_WAITING = 100  # requests of one connection that wait their turn
_encode = msgspec.json.Encoder().encode


class Call:
    """One request of a connection: whom to answer, and how.

    Args:
        packet_id: Of the ack; None: no answer is wanted.
        name: Of the event; `unknown` when it is none of ours.
        at_s: When it came, monotonic seconds.
    """

    __slots__ = ("at_s", "name", "packet_id", "peer")

    def __init__(self, peer: Peer, packet_id: int | None, name: str, at_s: float) -> None:
        self.peer = peer
        self.packet_id = packet_id
        self.name = name
        self.at_s = at_s


class Acks:
    """Answers calls.

    Args:
        clock: Monotonic seconds.
        requested: Called with (event name, error code or "ok", seconds until the answer).
    """

    def __init__(self, clock: Callable[[], float], requested: Callable[[str, str, float], None]) -> None:
        self.clock = clock
        self._requested = requested

    def ok(self, call: Call, answer: bytes) -> None:
        """Answer a call with this JSON."""
        self._requested(call.name, "ok", self.clock() - call.at_s)
        if call.packet_id is not None:
            call.peer.connection.ack(call.packet_id, answer)

    def refuse(self, call: Call, error: errors.RealtimeError) -> None:
        self._requested(call.name, error.code, self.clock() - call.at_s)
        if call.packet_id is not None:
            call.peer.connection.ack(call.packet_id, _encode(socket.Refused(error=Error.of(error))))

    def queue(self, call: Call, serve: Callable[[], Coroutine[None, None, Finish]]) -> None:
        """Serve a call after the connection's earlier queued ones.

        Raises:
            Overloaded: too many of them wait.
        """
        peer = call.peer
        if len(peer.waiting) >= MAX_WAITING:
            raise errors.Overloaded("Too many requests of this connection are waiting.", retry_after_ms=500)
        peer.waiting.append(lambda: self._run(call, serve()))
        if peer.tail is None:
            peer.tail = asyncio.get_running_loop().create_task(self._drain(peer))

    async def _run(self, call: Call, serving: Coroutine[None, None, Finish]) -> None:
        try:
            finish = await serving
            # No await between the service's return and the ack: live events must come behind it.
            if not call.peer.closed:
                finish(partial(self.ok, call))
        except errors.RealtimeError as error:
            self.refuse(call, error)
        except Exception:
            logger.exception(
                "request failed",
                extra={
                    "event": call.name,
                    "connection": call.peer.connection.id,
                    "user": call.peer.user,
                    "principal": str(call.peer.connection.principal),
                },
            )
            self.refuse(call, errors.Internal())

    @staticmethod
    async def _drain(peer: Peer) -> None:
        while peer.waiting:
            try:
                await peer.waiting.pop(0)()
            except Exception as error:  # noqa: BLE001 - what the connection asked behind it is to be served
                tasks.report(asyncio.get_running_loop(), "a queued request", error)
        peer.tail = None
