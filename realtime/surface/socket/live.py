"""What a connection asks for itself: what it receives, whom it watches, what it signals, and its token."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from realtime import errors
from realtime.budgets import Budget
from realtime.gateway.socketio import event_frame
from realtime.limits import retry_ms
from realtime.model import RoomId, Scope, UserId, is_uuid
from realtime.operations import Operation, Row, Socket
from realtime.wire import socket
from realtime.wire.types import Error, OwnPresence

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime import model
    from realtime.log.feeds import Feeds, Subscribed
    from realtime.log.frames import EventCodec
    from realtime.presence.service import Presence
    from realtime.surface.socket.acks import Acks, Call, Finish
    from realtime.surface.socket.peer import Peer

_encode = msgspec.json.Encoder().encode
_OK = _encode(socket.Ok())
MAX_DEPTH = 32  # of the data of a signal


class Live:
    """The service of what concerns one connection.

    Args:
        authenticate: Checks an access token.
        feeds: Delivery on this node.
        presence: Who is here.
        codec: Takes the JSON out of frames, for catch-up.
        publish_signal: Sends a signal's frame to the other nodes.
        limits: What a connection may do.
        acks: Answers.
    """

    def __init__(
        self,
        authenticate: Callable[[str], model.Principal],
        feeds: Feeds,
        presence: Presence,
        codec: EventCodec,
        publish_signal: Callable[[RoomId, bytes], None],
        limits: socket.Limits,
        acks: Acks,
    ) -> None:
        self._authenticate = authenticate
        self._feeds = feeds
        self._presence = presence
        self._codec = codec
        self._publish_signal = publish_signal
        self._limits = limits
        self._acks = acks

    def signal(self, call: Call, request: socket.Signal) -> None:
        peer, room = call.peer, RoomId(request.room)
        if room not in peer.rooms:
            raise errors.NotSubscribed
        if _deeper_than(request.data, MAX_DEPTH):
            raise errors.InvalidRequest(f"The data of a signal is at most {MAX_DEPTH} levels deep.", field="$.data")
        wait_s = peer.signal_wait_s(room, self._limits.signals_per_s, self._acks.clock())
        if wait_s > 0:
            raise errors.RateLimited(retry_after_ms=retry_ms(wait_s))
        payload = socket.SignalEmitted(room=room, user=peer.user, kind=request.kind, data=request.data)
        frame = event_frame("signal", _encode(payload))
        self._feeds.signal(room, frame, peer)
        self._publish_signal(room, frame)
        self._acks.ok(call, _OK)

    def subscribe(self, call: Call, request: socket.RoomSubscribe) -> None:
        self._acks.queue(call, partial(self._subscribe, call.peer, request))

    async def _subscribe(self, peer: Peer, request: socket.RoomSubscribe) -> Finish:
        wanted = {RoomId(one.room): one.since for one in request.rooms}
        if len(peer.rooms | wanted.keys()) > self._limits.subscriptions:
            raise errors.TooManySubscriptions
        known = [(room, since) for room, since in wanted.items() if is_uuid(room)]
        epochs = {RoomId(one.room): shown for one in request.rooms if (shown := one.epoch or request.epoch) is not None}
        found = await self._feeds.subscribe(peer, known, epochs, gone=lambda: peer.closed)
        for one in found:
            if one.error is None:
                peer.rooms.add(one.room)
        answers = {one.room: self._subscribed(one) for one in found}
        unknown = Error.of(errors.RoomNotFound())
        rooms = [answers.get(room) or socket.SubscribedRoom(room=room, error=unknown) for room in wanted]
        answer = socket.Subscribed(rooms=rooms, epoch=self._feeds.epoch)
        return lambda ack: ack(_encode(answer))

    def _subscribed(self, one: Subscribed) -> socket.SubscribedRoom:
        if one.error is not None:
            return socket.SubscribedRoom(room=one.room, error=Error.of(one.error))
        if one.frames is None:
            return socket.SubscribedRoom(room=one.room, head_seq=one.head_seq, role=one.role, reset=True)
        events: list[Any] = [msgspec.Raw(self._codec.json(frame)) for frame in one.frames]
        return socket.SubscribedRoom(room=one.room, head_seq=one.head_seq, role=one.role, events=events, behind=one.behind)

    def unsubscribe(self, call: Call, request: socket.RoomUnsubscribe) -> None:
        self._acks.queue(call, partial(self._unsubscribe, call.peer, request))

    async def _unsubscribe(self, peer: Peer, request: socket.RoomUnsubscribe) -> Finish:
        for one in request.rooms:
            room = RoomId(one if isinstance(one, str) else one.room)
            peer.rooms.discard(room)
            peer.signals.pop(room, None)
            self._feeds.unsubscribe(peer, room)
            self._presence.unwatch_room(peer, room)
        return lambda ack: ack(_OK)

    def watch(self, call: Call, request: socket.PresenceWatch) -> None:
        self._acks.queue(call, partial(self._watch, call.peer, request))

    async def _watch(self, peer: Peer, request: socket.PresenceWatch) -> Finish:
        rooms = [RoomId(room) for room in dict.fromkeys(request.rooms)]
        if not peer.rooms.issuperset(rooms):
            raise errors.NotSubscribed
        sight = await self._presence.look(peer.user, [UserId(user) for user in dict.fromkeys(request.users)], rooms)

        def finish(ack: Callable[[bytes], None]) -> None:
            ack(_OK)
            views, counts = self._presence.watch(peer, sight, peer.rooms)
            peer.presence(views, counts, snapshot=True)

        return finish

    def set_presence(self, call: Call, request: socket.PresenceSet) -> None:
        peer = call.peer
        if request.status is None and request.text is None and request.idle is None:
            raise errors.InvalidRequest("Nothing is chosen: give a status, a text, or whether you are idle.")
        if request.idle is not None and request.idle is not peer.idle:
            peer.idle = request.idle
            self._presence.set_idle(peer.user, idle=peer.idle)
        if request.status is None and request.text is None:
            self._acks.ok(call, _encode(socket.PresenceChosen()))
        else:
            self._acks.queue(call, partial(self._choose, call.peer.user, request))

    async def _choose(self, user: UserId, request: socket.PresenceSet) -> Finish:
        setting = await self._presence.choose(user, request.status, request.text, request.text_expires_in_s)
        return lambda ack: ack(_encode(socket.PresenceChosen(presence=OwnPresence.of(setting))))

    def refresh(self, call: Call, request: socket.AuthRefresh) -> None:
        peer = call.peer
        principal = self._authenticate(request.token)
        if principal.credential != peer.credential:
            raise errors.TokenInvalid("This token belongs to another sign-in.")
        expires_in = peer.connection.renew(principal)
        peer.scopes = principal.scopes
        self._acks.ok(call, _encode(socket.Refreshed(expires_in=expires_in)))


def _deeper_than(data: Any, limit: int) -> bool:
    level: deque[Any] = deque([data])
    for _ in range(limit):
        level = deque(
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        )
        if not level:
            return False
    return True


def _costs_of_presence(request: socket.PresenceSet) -> list[tuple[Budget, int]]:
    """A connection that goes idle writes nothing."""
    return [] if request.status is None and request.text is None else [(Budget.PRESENCE, 1)]


LIVE: tuple[Row, ...] = (
    Operation(
        name="subscribe",
        summary="Receive the live events of rooms.",
        request=socket.RoomSubscribe,
        attend=Live.subscribe,
        scope=Scope.EVENTS_READ,
        errors=(errors.TooManySubscriptions, errors.RoomNotFound, errors.NotAMember),
        socket=Socket(name="room.subscribe", ack=socket.Subscribed),
    ),
    Operation(
        name="unsubscribe",
        summary="Stop receiving rooms.",
        request=socket.RoomUnsubscribe,
        attend=Live.unsubscribe,
        scope=Scope.EVENTS_READ,
        socket=Socket(name="room.unsubscribe", ack=socket.Ok),
    ),
    Operation(
        name="signal",
        summary="Signal something to those who receive a room.",
        request=socket.Signal,
        attend=Live.signal,
        scope=Scope.SIGNALS_WRITE,
        errors=(errors.NotSubscribed, errors.RateLimited),
        socket=Socket(name="signal", ack=socket.Ok),
    ),
    Operation(
        name="set_presence",
        summary="Choose what others see of you, or say that this connection is idle.",
        request=socket.PresenceSet,
        attend=Live.set_presence,
        scope=Scope.PRESENCE_WRITE,
        budget=Budget.PRESENCE,
        costs=_costs_of_presence,
        socket=Socket(name="presence.set", ack=socket.PresenceChosen),
    ),
    Operation(
        name="watch_presence",
        summary="Watch how users and rooms are.",
        request=socket.PresenceWatch,
        attend=Live.watch,
        scope=Scope.PRESENCE_READ,
        errors=(errors.NotSubscribed,),
        socket=Socket(name="presence.watch", ack=socket.Ok),
    ),
    Operation(
        name="refresh_token",
        summary="Put a new access token on the connection.",
        request=socket.AuthRefresh,
        attend=Live.refresh,
        scope=None,
        errors=(errors.TokenInvalid, errors.TokenExpired, errors.SessionEnded),
        socket=Socket(name="auth.refresh", ack=socket.Refreshed),
    ),
)
"""Served by `Live`."""
