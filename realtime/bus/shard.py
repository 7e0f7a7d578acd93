"""One Redis server of the bus: a connection that listens, one that publishes, and a probe that goes through both."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import MovedError, RedisError, ResponseError

from realtime import redis_url, tasks
from realtime.bus.channels import Channels, OutOfStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio.connection import AbstractConnection

PROBE_S = 0.4
SUSPECT_S = 1.2
"""Silence after which a server counts as away: feeds compare with the store every second from then on."""
DEAF_S = 4.0
"""Silence after which its connections are given up. Longer, since reconnecting costs most when everything is slow."""
CONNECT_S = 2.0
_PAUSE_S = (0.1, 1.0)  # before connecting again, each time with half of it more or less: nodes must not come all at once
_QUEUE = 10_000
_BATCH = 500
_CHANNELS_AT_ONCE = 1000
# uvloop raises RuntimeError for a write to a transport that has just been closed, and redis-py passes it on.
FAILURES = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)


class Item:
    """Something to publish; `moves` counts how often a cluster sent it on."""

    __slots__ = ("channel", "data", "moves")

    def __init__(self, channel: str, data: bytes) -> None:
        self.channel = channel
        self.data = data
        self.moves = 0


class Owner(Protocol):
    """What a shard tells. Called from the event loop; must not raise."""

    def message(self, shard: Shard, channel: str, data: bytes) -> None:
        """Something arrived."""

    def carried(self, channel: str) -> None:
        """A channel is carried from here on."""

    def taken(self, shard: Shard, channel: str) -> None:
        """A wanted channel is carried no more: its slot has moved, or the server does not have it."""

    def moved(self, item: Item, slot: int, host: str, port: int) -> None:
        """A publish belongs to another server."""

    def dropped(self, count: int, error: Exception | None = None) -> None:
        """Publishes were given up, and why when the server said so."""

    def turned(self, shard: Shard, error: Exception | None) -> None:
        """The server went away (with the reason), or is back (None)."""

    def silent(self, seconds: float) -> None:
        """The server has been away for so much longer."""

    def round_trip(self, seconds: float) -> None:
        """A probe came back after so long."""


class Shard:
    """A server, and what this node hears of it.

    Args:
        url: Of this one server.
        sharded: Whether it belongs to a cluster, and channels to slots.
        own: Names a channel of this server on which only this node listens; None while it has no slot.
        probe: Makes the payload of a probe from the channel and the probe's number.
        owner: Is told.
        loops: Run what runs in the background.
    """

    def __init__(
        self,
        url: str,
        *,
        sharded: bool,
        own: Callable[[], str | None],
        probe: Callable[[str, int], bytes],
        owner: Owner,
        loops: tasks.Loops,
    ) -> None:
        self._url = url
        self._loops = loops
        self._own_name = own
        self._make_probe = probe
        self._owner = owner
        self._sharded = sharded
        self._subscribe, self._unsubscribe, self._publish = (
            ("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH") if sharded else ("SUBSCRIBE", "UNSUBSCRIBE", "PUBLISH")
        )
        self._channels = Channels()
        self._changed = asyncio.Event()
        self._check_due = False
        self._own = ""
        self._initial: set[str] | None = None  # what a new connection has not confirmed yet; None: no connection
        self._outbox: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._sending: AbstractConnection | None = None
        self._pause_s = _PAUSE_S[0]
        self._clock = asyncio.get_running_loop().time
        self._looked_s = self._clock()
        self._number = 0  # of the last probe
        self._sent_s: dict[int, float] = {}
        self._confirmed = asyncio.Event()
        self._counts_from = 0  # the first probe that was sent when all channels were confirmed
        self._heard_number = 0
        self._heard_s = self._clock()
        self._connection: AbstractConnection | None = None
        self.healthy = False

    def open(self) -> None:
        """Connect in the background, now and whenever it is lost."""
        self._looked_s = self._clock()
        self._tasks = [
            self._loops.start("bus.receive", self._receive, hung_s=None),
            self._loops.start("bus.send", self._send, called=self._filled),
            self._loops.start("bus.watch", self._watch),
        ]

    async def close(self) -> None:
        """End its connections."""
        await tasks.end(self._tasks)
        if self._sending is not None:
            await _disconnect(self._sending)

    # -- channels ---------------------------------------------------------------------------------

    def want(self, channel: str) -> None:
        self._channels.want(channel)
        self._changed.set()

    def drop(self, channel: str) -> None:
        self._channels.drop(channel)
        if self._initial is not None:
            self._confirm(channel)
        self._changed.set()

    def hears(self, channel: str) -> bool:
        """Whether what is published there arrives here, as far as anybody can know."""
        return self.healthy and self._channels.hears(channel)

    # -- out --------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Publishes that are not sent yet."""
        return len(self._outbox)

    def put(self, item: Item) -> None:
        """Publish, in the order of the calls, or give it up."""
        if len(self._outbox) >= _QUEUE:
            self._owner.dropped(1)
            return
        self._outbox.append(item)
        self._filled.set()

    async def _send(self) -> None:
        """Publish some of what waits."""
        batch = [self._outbox.popleft() for _ in range(min(len(self._outbox), _BATCH))]
        if self._outbox:
            self._filled.set()
        connection = self._sending = self._sending or redis_url.connection(self._url)
        try:
            async with asyncio.timeout(DEAF_S):
                await self._send_batch(connection, batch)
        except Exception as error:
            await _disconnect(connection)
            self._owner.dropped(len(batch))
            self._lost(error)
            await asyncio.sleep(_jittered(_PAUSE_S[0]))
            if not isinstance(error, FAILURES):
                raise

    async def _send_batch(self, connection: AbstractConnection, batch: list[Item]) -> None:
        """Publish everything in one write; take each answer off the batch, so that what is left is what was not sent."""
        packed = connection.pack_commands([(self._publish, item.channel, item.data) for item in batch])
        await connection.send_packed_command(packed)
        for item in list(batch):
            try:
                await connection.read_response()
            except MovedError as error:
                self._owner.moved(item, error.slot_id, error.host, error.port)
            except ResponseError as error:  # no right to this channel, or the cluster is down
                self._owner.dropped(1, error)
            batch.pop(0)

    # -- in ---------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Listen until the connection is lost, and pause before the next."""
        try:
            await self._listen()
        except Exception as error:
            if self.healthy:
                self._pause_s = _PAUSE_S[0]
            self._lost(error)
            if not isinstance(error, (OutOfStep, *FAILURES)):
                raise
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _PAUSE_S[1])
        await asyncio.sleep(_jittered(pause_s))

    async def _listen(self) -> None:
        own = self._own_name()
        if own is None:
            raise ConnectionError("this server has no slot")
        if own != self._own:
            self._channels.drop(self._own)
            self._own = own
            self._channels.want(own)
        connection = redis_url.connection(self._url)
        changes: asyncio.Task[None] | None = None
        try:
            await redis_url.connect(connection, CONNECT_S)
            self._initial = self._channels.connected()
            self._connection = connection
            self._changed.set()
            changes = asyncio.create_task(self._change(connection))
            while True:
                try:
                    async with asyncio.timeout(DEAF_S):
                        reply = await connection.read_response()
                except ResponseError as error:
                    self._refused(error)
                else:
                    self._take(reply)
                if changes.done():
                    await changes
        finally:
            self._initial = None
            self._connection = None
            self._channels.disconnected()
            await tasks.end([changes])
            await _disconnect(connection)

    async def _change(self, connection: AbstractConnection) -> None:
        """Ask for what changed. The only one who writes to the connection, so that answers come in the order of asking."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while (changes := self._channels.changes(_CHANNELS_AT_ONCE)) is not None:
                await self._ask(connection, self._unsubscribe, changes.unsubscribe)
                await self._ask(connection, self._subscribe, changes.subscribe)
            if self._check_due:
                # Subscribed already: this only makes the server say how many channels it has for us.
                self._check_due = False
                self._channels.ask_again(self._own)
                await self._ask(connection, self._subscribe, [self._own])

    async def _ask(self, connection: AbstractConnection, command: str, channels: list[str]) -> None:
        if channels and self._sharded:  # in a cluster all channels of one command must be in one slot
            await connection.send_packed_command(connection.pack_commands([(command, channel) for channel in channels]))
        elif channels:
            await connection.send_command(command, *channels)

    def _take(self, reply: Any) -> None:
        if not isinstance(reply, list) or len(reply) != 3:
            return  # a pong
        kind, name, data = reply
        channel = name.decode()
        if kind in (b"message", b"smessage"):
            self._owner.message(self, channel, data)
        elif kind in (b"subscribe", b"ssubscribe"):
            self._channels.answered(True, channel, data)
            self._carries(channel)
        elif kind in (b"unsubscribe", b"sunsubscribe") and not self._channels.answered(False, channel, data):
            self._taken(channel)

    def _refused(self, error: ResponseError) -> None:
        if not self._sharded:
            raise error  # it answers a command with many channels
        channel = self._channels.refused()
        if channel is not None:
            self._taken(channel)

    def _taken(self, channel: str) -> None:
        if channel == self._own:
            raise ConnectionError("the slot of this node's own channel has moved")
        self._confirm(channel)
        self._owner.taken(self, channel)

    def _carries(self, channel: str) -> None:
        if self._channels.hears(channel):
            self._confirm(channel)
            if channel != self._own:
                self._owner.carried(channel)

    def _confirm(self, channel: str) -> None:
        """Note that a new connection need not wait for this channel."""
        if self._initial:
            self._initial.discard(channel)
            if not self._initial:
                self._counts_from = self._number + 1
                self._confirmed.set()

    # -- probes -----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Send a probe, and look what came back of those before."""
        self._number += 1
        self._sent_s[self._number] = self._clock()
        self._sent_s.pop(self._number - 100, None)
        if self._own:
            self.put(Item(self._own, self._make_probe(self._own, self._number)))
        self._check_due = True
        self._changed.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PROBE_S):
                await self._confirmed.wait()  # a new connection waits for nothing but a probe now
        self._confirmed.clear()
        now_s = self._clock()
        silent_s = now_s - self._heard_s
        last_s, self._looked_s = self._looked_s, now_s
        if self.healthy and silent_s > SUSPECT_S:
            self._lost(TimeoutError())
        if not self.healthy:
            self._owner.silent(now_s - last_s)
        if silent_s > DEAF_S and self._connection is not None and self._initial is not None and not self._initial:
            # It answers and yet brings no probe: another connection may.
            self._heard_s = now_s
            await _disconnect(self._connection)

    def probe_heard(self, number: int) -> None:
        """A probe of this node came back; an old one, which somebody may have repeated, counts for nothing."""
        if number <= self._heard_number or number > self._number:
            return
        self._heard_number = number
        self._heard_s = self._clock()
        sent_s = self._sent_s.pop(number, None)
        if sent_s is not None:
            self._owner.round_trip(self._heard_s - sent_s)
        if not self.healthy and self._initial is not None and not self._initial and number >= self._counts_from:
            self.healthy = True
            self._owner.turned(self, None)

    def _lost(self, error: Exception) -> None:
        self.healthy = False
        self._owner.turned(self, error)


async def _disconnect(connection: AbstractConnection) -> None:
    with contextlib.suppress(*FAILURES):
        await connection.disconnect(nowait=True)


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)
