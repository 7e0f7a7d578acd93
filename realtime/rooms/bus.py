"""The bus: Redis pub/sub between nodes. A hint and no more: everything on it may be lost, late or doubled.

One channel per room that somebody on this node receives, one for control messages of all nodes, and one that only this
node listens to, on which it hears itself: a connection that is up but deaf is noticed by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from realtime.model import RoomId
from realtime.rooms import envelope
from realtime.rooms.envelope import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio.client import PubSub

logger = logging.getLogger(__name__)

PROBE_S = 0.4
SUSPECT_S = 1.2
"""Silence after which the bus counts as away: feeds compare with the store every second from then on."""
DEAF_S = 4.0
"""Silence after which the connection is given up. Longer, since reconnecting costs most when everything is slow."""
_CONFIRM_S = 1.0
_PAUSE_S = (0.1, 2.0)
_QUEUE = 10_000
_BATCH = 500
_CHANNELS_AT_ONCE = 1000
# uvloop raises RuntimeError for a write to a transport that has just been closed, and redis-py passes it on.
_FAILURES = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)


class Receiver(Protocol):
    """Who gets what other nodes sent. Called in the order of arrival; must not raise but ValueError for foreign bytes."""

    def events(self, room: RoomId, first_seq: int, frames: Sequence[bytes], /) -> None: ...

    def signal(self, room: RoomId, frame: bytes, /) -> None: ...

    def control(self, message: bytes, /) -> None: ...

    def gap(self) -> None:
        """Something was lost for certain: the bus was away."""


class Bus:
    """This node's end of the bus.

    Args:
        url: Of Redis.
        prefix: Of all channels; what shares a Redis and is not one cluster needs different ones.
        sender: 8 random bytes of this node.
        receiver: Gets what others sent.
        refused: Called for each payload that was not ours.
        dropped: Called with the number of payloads that could not be sent.
        health: Called with True and False as the bus comes and goes.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        sender: bytes,
        receiver: Receiver,
        *,
        refused: Callable[[], None] = lambda: None,
        dropped: Callable[[int], None] = lambda _count: None,
        health: Callable[[bool], None] = lambda _healthy: None,
    ) -> None:
        # RESP 2: hiredis leaked on RESP 3 pub/sub messages up to 3.4.1.
        self._redis = Redis.from_url(
            url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=DEAF_S, socket_connect_timeout=2, health_check_interval=0
        )
        self._sender = sender
        self._receiver = receiver
        self._refused = refused
        self._dropped = dropped
        self._health = health
        self._room_prefix = f"{prefix}:room:"
        self._control = f"{prefix}:control"
        self._own = f"{prefix}:node:{sender.hex()}"
        self._rooms: set[RoomId] = set()
        self._added: list[RoomId] = []
        self._removed: list[RoomId] = []
        self._confirmations: dict[RoomId, asyncio.Future[bool]] = {}
        self._changed = asyncio.Event()
        self._outbox: list[tuple[str, bytes]] = []
        self._filled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._complained = False
        self._clock = asyncio.get_running_loop().time
        self._heard_s = 0.0
        self.healthy = False

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect in the background; wait a moment for the first success, and go on without."""
        self._tasks = [asyncio.create_task(one) for one in (self._receive(), self._send(), self._probe())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while not self.healthy:
                    await asyncio.sleep(0.005)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(*_FAILURES):
            await self._redis.aclose()

    # -- what this node sends ---------------------------------------------------------------------

    def publish_batch(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        """Send committed events, which follow each other without a hole, as one message."""
        self._put(self._room_prefix + room, envelope.pack(self._sender, Kind.EVENTS, frames, first_seq))

    def publish_signal(self, room: RoomId, frame: bytes) -> None:
        """Send a frame without a number."""
        self._put(self._room_prefix + room, envelope.pack(self._sender, Kind.SIGNAL, [frame]))

    def publish_control(self, message: bytes) -> None:
        """Send something to all nodes."""
        self._put(self._control, envelope.pack(self._sender, Kind.CONTROL, [message]))

    def _put(self, channel: str, data: bytes) -> None:
        if len(self._outbox) >= _QUEUE:
            self._dropped(1)  # the feeds' comparison with the store brings it
            return
        self._outbox.append((channel, data))
        self._filled.set()

    async def _send(self) -> None:
        while True:
            await self._filled.wait()
            batch, self._outbox = self._outbox[:_BATCH], self._outbox[_BATCH:]
            if not self._outbox:
                self._filled.clear()
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for channel, data in batch:
                        pipeline.publish(channel, data)
                    await pipeline.execute()
            except _FAILURES as error:
                self._dropped(len(batch))
                # The next probe that comes back says that something was lost, and the others are told.
                self._lost(error)
                await asyncio.sleep(_PAUSE_S[0])

    async def _probe(self) -> None:
        while True:
            self._put(self._own, envelope.pack(self._sender, Kind.PROBE, []))
            await asyncio.sleep(PROBE_S)
            if self.healthy and self._clock() - self._heard_s > SUSPECT_S:
                self._lost(TimeoutError())

    def _lost(self, error: Exception) -> None:
        if self.healthy or not self._complained:
            logger.warning("the bus is away (%s): events reach other nodes late until it is back", type(error).__name__)
            self._complained = True
        if self.healthy:
            self.healthy = False
            self._health(False)

    # -- what this node receives ------------------------------------------------------------------

    async def subscribe(self, room: RoomId) -> bool:
        """Receive a room; return when Redis confirmed it (True), or False when it does not answer in time."""
        self._rooms.add(room)
        self._added.append(room)
        self._changed.set()
        if not self.healthy:
            return False
        confirmation = self._confirmations.get(room)
        if confirmation is None:
            confirmation = self._confirmations[room] = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.wait_for(asyncio.shield(confirmation), _CONFIRM_S)
        except TimeoutError:
            return False

    def unsubscribe(self, room: RoomId) -> None:
        """Receive a room no more."""
        self._rooms.discard(room)
        self._removed.append(room)
        self._changed.set()

    async def _receive(self) -> None:
        pause_s = _PAUSE_S[0]
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await self._listen(pubsub)
            except _FAILURES as error:
                if self.healthy:
                    pause_s = _PAUSE_S[0]
                self._lost(error)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, _PAUSE_S[1])

    async def _listen(self, pubsub: PubSub) -> None:
        self._added.clear()
        self._removed.clear()
        await pubsub.subscribe(self._own, self._control)
        rooms = list(self._rooms)
        for at in range(0, len(rooms), _CHANNELS_AT_ONCE):
            await pubsub.subscribe(*(self._room_prefix + room for room in rooms[at : at + _CHANNELS_AT_ONCE]))
        changes = asyncio.create_task(self._change(pubsub))
        try:
            while True:
                async with asyncio.timeout(DEAF_S):
                    message = await pubsub.get_message(timeout=None)
                if message is not None:
                    self._take(message["type"], message["channel"].decode(), message["data"])
                if changes.done():
                    await changes
        finally:
            changes.cancel()
            for confirmation in self._confirmations.values():
                if not confirmation.done():
                    confirmation.set_result(False)
            self._confirmations.clear()

    async def _change(self, pubsub: PubSub) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            added, self._added = self._added, []
            removed, self._removed = self._removed, []
            gone = [room for room in dict.fromkeys(removed) if room not in self._rooms]
            if gone:
                await pubsub.unsubscribe(*(self._room_prefix + room for room in gone))
            if added:
                await pubsub.subscribe(*(self._room_prefix + room for room in added))

    def _take(self, kind: str, channel: str, data: bytes) -> None:
        if kind == "subscribe":
            confirmation = self._confirmations.pop(RoomId(channel.removeprefix(self._room_prefix)), None)
            if confirmation is not None and not confirmation.done():
                confirmation.set_result(True)
        elif kind == "message":
            try:
                self._open_envelope(channel, envelope.unpack(data))
            except ValueError:
                self._refused()

    def _open_envelope(self, channel: str, found: envelope.Envelope) -> None:
        if found.kind is Kind.PROBE:
            self._hear_ourselves()
        elif found.sender == self._sender:
            return
        elif found.kind is Kind.CONTROL:
            for message in found.frames:
                self._receiver.control(message)
        elif found.kind is Kind.EVENTS:
            self._receiver.events(RoomId(channel.removeprefix(self._room_prefix)), found.first_seq, found.frames)
        else:
            for frame in found.frames:
                self._receiver.signal(RoomId(channel.removeprefix(self._room_prefix)), frame)

    def _hear_ourselves(self) -> None:
        self._heard_s = self._clock()
        if not self.healthy:
            self.healthy = True
            self._health(True)
            if self._complained:
                logger.warning("the bus is back")
                self._complained = False
            self._receiver.gap()
