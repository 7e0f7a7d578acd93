"""The bus: Redis pub/sub between nodes. A hint and no more: everything on it may be lost, late or doubled.

One channel per room that somebody on this node receives, one or a few for control messages of all nodes, and one per
Redis server that only this node listens to, on which it hears itself: a connection that is up but deaf is noticed by that.
In a cluster every channel lives on the server that owns its slot (sharded pub/sub, Redis 7 and later), and each server
comes and goes on its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from realtime import errors, redis_url, tasks
from realtime.bus.cluster import Cluster
from realtime.bus.envelope import SPLIT_BYTES, EnvelopeMac, Kind, Refusal, Refused
from realtime.bus.heartbeats import HEARTBEAT_S, Heartbeat, Heartbeats
from realtime.bus.shard import Item, Shard
from realtime.model import RoomId
from realtime.swings import Swings

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from realtime.bus.envelope import Envelope, Keys

logger = logging.getLogger(__name__)

CONFIRM_S = 1.0
ALONE_S = 3.0
"""A node that hears Redis and has heard no other node for so long, seven heartbeats, publishes no rooms."""
CONTROL_LANES = 16
"""Control channels in a cluster, over its slots: each message goes over one whose server lives."""
_MOVES = 2  # times that a publish follows a moving slot
_OPEN_S = 2.0
_CLOSE_S = 0.5
_COMPLAIN_S = 60.0
_NEWER = (Refusal.VERSION, Refusal.KEY, Refusal.KIND)
"""Why an envelope of a newer node may be refused. What it says of rooms is in the store too."""


class Receiver(Protocol):
    """Who gets what other nodes sent. Called in the order of arrival; must not raise but ValueError for wrong content.

    `control` raises Refused for what only newer nodes know.
    """

    def events(self, room: RoomId, first_seq: int, frames: Sequence[bytes], /) -> None: ...

    def signal(self, room: RoomId, frame: bytes, /) -> None: ...

    def control(self, message: bytes, /) -> None: ...

    def extension(self, parts: Sequence[bytes], /) -> None: ...

    def gap(self) -> None:
        """The bus was away, in whole or in part: anything may have been lost, of this node's too."""

    def away(self) -> None:
        """The bus went away, in whole or in part."""

    def suspect(self, rooms: Collection[RoomId], /) -> None:
        """Frames of these rooms may have been lost on their way here."""

    def unsent(self) -> None:
        """This node could not send some of its frames, and can again."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the bus is.

    Args:
        url: Of Redis; `realtime.redis_url` says which forms it may have.
        prefix: Of all channels; what shares a Redis and is not one cluster needs different ones.
        extensions: Whether this node has extensions, and wants to hear those of the others.
    """

    url: str
    prefix: str
    extensions: bool = False


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the bus tells.

    Args:
        refused: Called with the reason for each payload that was not taken.
        dropped: Called with the number of payloads that could not be sent.
        health: Called with True and False as the bus comes and goes; with a part of a cluster away it is gone.
        deaf: Called with seconds as the time grows during which some server was not heard.
        round_trip: Called with the seconds that a probe took through Redis and back.
    """

    refused: Callable[[str], None] = lambda _reason: None
    dropped: Callable[[int], None] = lambda _count: None
    health: Callable[[bool], None] = lambda _healthy: None
    deaf: Callable[[float], None] = lambda _seconds: None
    round_trip: Callable[[float], None] = lambda _seconds: None


class Bus:
    """This node's end of the bus.

    Args:
        settings: Where Redis is.
        sender: 8 random bytes of this node.
        keys: What envelopes are sealed with.
        hooks: What is told of it.
        loops: Run what runs in the background.

    Attributes:
        sealer: Of this node, for what it keeps in Redis.
    """

    def __init__(
        self,
        settings: Settings,
        sender: bytes,
        keys: Keys,
        hooks: Hooks,
        loops: tasks.Loops,
    ) -> None:
        self._loops = loops
        servers, prefix = redis_url.parse(settings.url), settings.prefix
        self.sealer = self._sealer = EnvelopeMac(keys, sender)
        self._sender = sender
        self._receiver: Receiver
        self._count_refused = hooks.refused
        self._count_dropped = hooks.dropped
        self._health = hooks.health
        self.silent = hooks.deaf
        self.round_trip = hooks.round_trip
        self._room_prefix = f"{prefix}:room:"
        self._own = f"{prefix}:node:{sender.hex()}"
        self._cluster: Cluster | None = None
        if servers.cluster:
            self._control = [f"{prefix}:control:{{{lane}}}" for lane in range(CONTROL_LANES)]
            self._cluster = Cluster(servers, self._make_shard, self._rerouted, self._loops)
        else:
            self._control = [f"{prefix}:control"]
            self._only = self._make_shard(servers.urls[0], False, lambda: self._own)
        self._lane = sender[0] % len(self._control)
        self._extensions = f"{prefix}:extensions"
        self._placed: dict[str, Shard | None] = dict.fromkeys(
            [*self._control, self._extensions] if settings.extensions else self._control
        )
        self._missed: set[str] = set()  # channels on which something may have been lost until they are carried again
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._clock = asyncio.get_running_loop().time
        self._heartbeats = Heartbeats(self._clock)
        self._all_heard = True
        self._alone = False
        self._met_s = self._healthy_s = self._clock()  # when another node was heard last, and the bus came back last
        self._beating: asyncio.Task[None] | None = None
        self._was_healthy = False
        self._swings = Swings(self._say, self._clock)
        self._next_complaint_s = self._next_refusal_s = 0.0
        self._unsent = False

    def _make_shard(self, url: str, sharded: bool, own: Callable[[], str | None]) -> Shard:
        name = own if not sharded else lambda: None if (tag := own()) is None else f"{self._own}:{{{tag}}}"
        return Shard(url, sharded=sharded, own=name, probe=self._probe, owner=self, loops=self._loops)

    # -- life -------------------------------------------------------------------------------------

    async def open(self, receiver: Receiver) -> None:
        """Connect in the background; wait a moment for the first success, and go on without.

        Args:
            receiver: Gets what others send.
        """
        self._receiver = receiver
        if self._cluster is not None:
            self._cluster.open()
        else:
            self._only.open()
            self._rerouted()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_OPEN_S):
                while not self.healthy:
                    await asyncio.sleep(0.005)
        self._beating = self._loops.start("bus.beat", self._beat)

    async def close(self) -> None:
        await tasks.end([self._beating])
        self._swings.close()
        if self.healthy:
            self._put(self._lane_that_lives(), Kind.HEARTBEAT, [], Heartbeat.GONE)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    while self.waiting:
                        await asyncio.sleep(0.005)
        if self._cluster is not None:
            await self._cluster.close()
        else:
            await self._only.close()

    def _shards(self) -> Sequence[Shard]:
        return self._cluster.shards if self._cluster is not None else [self._only]

    def _route(self, channel: str) -> Shard | None:
        return self._cluster.route(channel) if self._cluster is not None else self._only

    @property
    def healthy(self) -> bool:
        """Whether every server was heard just now; False means that losses are certain."""
        shards = self._shards()
        return bool(shards) and all(shard.healthy for shard in shards) and (self._cluster is None or self._cluster.complete)

    @property
    def complete(self) -> bool:
        """Whether every room that this node wants is heard, from every node."""
        return self._is_carried and self._all_heard

    @property
    def _is_carried(self) -> bool:
        return self.healthy and not self._missed

    @property
    def state(self) -> str:
        """`ok`, `away`, or `partly away`: some servers, or the channels of some rooms, are not heard."""
        if self._is_carried:
            return "ok"
        return "partly away" if any(shard.healthy for shard in self._shards()) else "away"

    @property
    def waiting(self) -> int:
        """Publishes that are not sent yet."""
        return sum(shard.waiting for shard in self._shards())

    @property
    def silent_nodes(self) -> int:
        """How many nodes are not heard that may live."""
        return self._heartbeats.silent

    @property
    def unheard(self) -> int:
        """How many rooms this node should receive from the others, and does not just now."""
        rooms = [(channel, shard) for channel, shard in self._placed.items() if channel.startswith(self._room_prefix)]
        return sum(shard is None or not shard.hears(channel) for channel, shard in rooms)

    def hears(self, room: RoomId) -> bool:
        """Whether this node receives a room from all others just now, as far as it can know."""
        return self._all_heard and self._hears(self._room_prefix + room)

    def _hears(self, channel: str) -> bool:
        shard = self._placed.get(channel)
        return shard is not None and shard.hears(channel)

    # -- what this node sends ---------------------------------------------------------------------

    def publish_batch(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        """Send committed events, which follow each other without a hole, as one message; as several when they are large."""
        if self._alone:
            return
        for at, part in _split(frames):
            self._put(self._room_prefix + room, Kind.EVENTS, part, first_seq + at)

    def publish_signal(self, room: RoomId, frame: bytes) -> None:
        """Send a frame without a number."""
        if self._alone:
            return
        self._put(self._room_prefix + room, Kind.SIGNAL, [frame])

    def publish_control(self, message: bytes) -> None:
        """Send something to all nodes."""
        self._put(self._lane_that_lives(), Kind.CONTROL, [message])

    def publish_extension(self, parts: Sequence[bytes]) -> bool:
        """Send what extensions tell one another; tell whether any other node is known. Without parts nothing is sent.

        The order of the calls is kept for each receiver; each message arrives once or not at all.
        """
        if self._heartbeats.known and parts:
            self._put(self._extensions, Kind.EXTENSION, parts)
        return self._heartbeats.known

    def _lane_that_lives(self) -> str:
        lanes = [*self._control[self._lane :], *self._control[: self._lane]]
        return next((one for one in lanes if (shard := self._route(one)) is not None and shard.healthy), lanes[0])

    async def _beat(self) -> None:
        """Show the others that they hear this node, and look whether all of them are heard."""
        if self.state != "away":  # else it would only wait behind what is lost anyway
            self._put(self._lane_that_lives(), Kind.HEARTBEAT, [], Heartbeat.WHOLE if self.healthy else Heartbeat.PARTLY)
        for _ in range(2):
            await asyncio.sleep(HEARTBEAT_S / 2)
            self._look_for_peers()
            self._alone = self._is_alone()

    def _is_alone(self) -> bool:
        """Whether nobody is there whom rooms need to be published to.

        Over a single server, both ends of which are well, every other node is heard within a heartbeat. It is published to from
        then on, and told to compare what it may have missed before.
        """
        if self._cluster is not None or not self.healthy or self._heartbeats.known:
            return False
        return self._clock() - max(self._met_s, self._healthy_s) >= ALONE_S

    def _met(self) -> None:
        """Another node is there."""
        self._met_s = self._clock()
        if self._alone:
            self._alone = False
            self._receiver.unsent()

    def _look_for_peers(self) -> None:
        all_heard = not self._heartbeats.silent
        if all_heard is not self._all_heard:
            self._all_heard = all_heard
            # What was committed meanwhile is in the store, and as they are heard again there may be a last of it.
            rooms = [channel for channel in self._placed if channel.startswith(self._room_prefix)]
            self._receiver.suspect([self._room_of(channel) for channel in rooms])

    def _put(self, channel: str, kind: Kind, frames: Sequence[bytes], number: int = 0) -> None:
        try:
            data = self._sealer.pack(channel, kind, frames, number)
        except errors.RealtimeError:  # no key was read yet
            self.dropped(1)
            return
        self._dispatch(Item(channel, data))

    def _dispatch(self, item: Item) -> None:
        shard = self._route(item.channel)
        if shard is None:
            self.dropped(1)
        else:
            shard.put(item)

    def _probe(self, channel: str, number: int) -> bytes:
        try:
            return self._sealer.pack(channel, Kind.PROBE, [], number)
        except errors.RealtimeError:
            return b""  # nobody takes it: without a key nothing is heard anyway

    # -- what this node receives ------------------------------------------------------------------

    async def subscribe(self, room: RoomId) -> bool:
        """Receive a room; return when Redis confirmed it (True), or False when it does not answer in time.

        After False the room counts as not heard until it is confirmed, and as suspect then.
        """
        channel = self._room_prefix + room
        if channel not in self._placed:
            self._placed[channel] = None
            self._place(channel)
        if self._hears(channel):
            return True
        shard = self._placed[channel]
        if shard is not None and shard.healthy:
            future = self._waiting.get(channel)
            if future is None:
                future = self._waiting[channel] = asyncio.get_running_loop().create_future()
            await asyncio.wait([future], timeout=CONFIRM_S)
        if self._hears(channel):
            return True
        if channel in self._placed:
            self._missed.add(channel)
        return False

    def unsubscribe(self, room: RoomId) -> None:
        """Receive a room no more."""
        channel = self._room_prefix + room
        shard = self._placed.pop(channel, None)
        if shard is not None:
            shard.drop(channel)
        self._missed.discard(channel)
        self._wake(channel)

    def _wake(self, channel: str) -> None:
        future = self._waiting.pop(channel, None)
        if future is not None and not future.done():
            future.set_result(None)

    def _place(self, channel: str) -> None:
        old, new = self._placed[channel], self._route(channel)
        if new is not old:
            if old is not None:
                old.drop(channel)
            if new is not None:
                new.want(channel)
            self._placed[channel] = new

    def _rerouted(self) -> None:
        """The servers, or the slots that they own, have changed."""
        for channel, old in list(self._placed.items()):
            self._place(channel)
            if self._placed[channel] is not old:
                self._miss(channel)
        self._look()

    def _miss(self, channel: str) -> None:
        """A channel is not heard from here on; what it brings meanwhile is to be found in the store, and once more after."""
        self._missed.add(channel)
        if channel.startswith(self._room_prefix):
            self._receiver.suspect([self._room_of(channel)])

    # -- what shards tell -------------------------------------------------------------------------

    def carried(self, channel: str) -> None:
        self._wake(channel)
        if channel in self._missed:
            self._missed.discard(channel)
            if channel.startswith(self._room_prefix):
                self._receiver.suspect([self._room_of(channel)])

    def taken(self, shard: Shard, channel: str) -> None:
        if self._placed.get(channel) is not shard:
            return
        self._miss(channel)
        # Asked for again where the cluster says it is, once that is known.
        shard.drop(channel)
        self._placed[channel] = None
        if self._cluster is not None:
            self._cluster.refresh()
        else:
            self._place(channel)

    def moved(self, item: Item, slot: int, host: str, port: int) -> None:
        if self._cluster is None:
            self.dropped(1, ConnectionError("this Redis is a cluster: the URL begins with redis+cluster://"))
            return
        self._cluster.moved(slot, host, port)
        item.moves += 1
        if item.moves > _MOVES:
            self.dropped(1)
        else:
            self._dispatch(item)

    def dropped(self, count: int, error: Exception | None = None) -> None:
        self._count_dropped(count)
        self._unsent = True
        if error is not None and self._clock() >= self._next_complaint_s:
            self._next_complaint_s = self._clock() + _COMPLAIN_S
            logger.warning("Redis refuses what this node publishes: %s", error)

    def turned(self, shard: Shard, error: Exception | None) -> None:
        if error is not None and self._cluster is not None:
            self._cluster.refresh()
        self._look(error)
        if error is None:
            self._unsent = False
            self._receiver.gap()

    def _look(self, error: Exception | None = None) -> None:
        """Say so when the bus as a whole came or went."""
        healthy = self.healthy
        if healthy or error is not None:
            self._swings.turn(healthy, type(error).__name__)
        if healthy is not self._was_healthy:
            self._was_healthy = healthy
            self._healthy_s = self._clock()
            self._alone = False
            self._health(healthy)
            if not healthy:
                self._receiver.away()

    def _say(self, is_well: bool, why: str, swung: int) -> None:
        often = f"; it came and went {swung} times since this was last said" if swung > 1 else ""
        if is_well:
            logger.warning("the bus is back%s", often)
        else:
            logger.warning("the bus is %s (%s): events reach other nodes late until it is back%s", self.state, why, often)

    def message(self, shard: Shard, channel: str, data: bytes) -> None:
        try:
            self._take(shard, channel, self._sealer.unpack(channel, data))
        except Exception as error:  # noqa: BLE001 - counted; nothing that comes may end the connection
            self._refuse(channel, error)

    def _refuse(self, channel: str, error: Exception) -> None:
        if isinstance(error, Refused):
            self._count_refused(error.reason.value)
            if error.reason in _NEWER:
                self._met()
                if channel.startswith(self._room_prefix):
                    self._receiver.suspect([self._room_of(channel)])
        else:
            self._count_refused(Refusal.CONTENT.value)
            if not isinstance(error, ValueError) and self._clock() >= self._next_refusal_s:
                self._next_refusal_s = self._clock() + _COMPLAIN_S
                logger.error("a message of another node could not be taken; said once a minute", exc_info=error)
            if channel.startswith(self._room_prefix):
                self._receiver.suspect([self._room_of(channel)])

    def _take(self, shard: Shard, channel: str, found: Envelope) -> None:
        if found.sender != self._sender:
            self._met()
        if found.sender == self._sender:
            if found.kind is Kind.PROBE:
                shard.probe_heard(found.number)
                if self._unsent and shard.healthy:
                    self._unsent = False
                    self._receiver.unsent()
        elif found.kind is Kind.CONTROL and channel in self._control:
            for message in found.frames:
                try:
                    self._receiver.control(message)
                except Exception as error:  # noqa: BLE001 - counted; the messages behind it are taken all the same
                    self._refuse(channel, error)
        elif found.kind is Kind.EXTENSION and channel == self._extensions:
            self._receiver.extension(found.frames)
        elif found.kind is Kind.HEARTBEAT and channel in self._control:
            self._heartbeats.heard(found.sender, found.number)
        elif found.kind is Kind.EVENTS and channel.startswith(self._room_prefix):
            self._receiver.events(self._room_of(channel), found.number, found.frames)
        elif found.kind is Kind.SIGNAL and channel.startswith(self._room_prefix):
            for frame in found.frames:
                self._receiver.signal(self._room_of(channel), frame)
        else:
            raise Refused(Refusal.FORM)

    def _room_of(self, channel: str) -> RoomId:
        return RoomId(channel.removeprefix(self._room_prefix))


def _split(frames: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Cut frames into runs that envelopes hold; yield each with the index of its first."""
    start, size = 0, 0
    for index, frame in enumerate(frames):
        if size and size + len(frame) > SPLIT_BYTES:
            yield start, frames[start:index]
            start, size = index, 0
        size += len(frame)
    yield start, frames[start:] if start else frames
