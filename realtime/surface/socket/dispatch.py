"""From an event name and raw JSON to a service, and from its answer to an ack.

Requests of one connection are taken in the order in which they came. Sends go to the writer without an await; requests
that must wait (subscribe) run one after the other per connection, on a task that exists only while there is one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from realtime import errors, tasks
from realtime.gateway.connection import CloseReason, Connection
from realtime.gateway.socketio import count_arguments, event_frame
from realtime.log.writer import Committed
from realtime.model import EventKind, RoomId, UserId, is_uuid
from realtime.surface.socket.hub import Hub
from realtime.surface.socket.peer import Peer
from realtime.wire import socket
from realtime.wire.decode import decode
from realtime.wire.types import Error, OwnPresence, Room, User, time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    from realtime import model
    from realtime.auth.service import Accounts
    from realtime.limits import Rate
    from realtime.log.feeds import Feeds, Subscribed
    from realtime.log.frames import EventCodec
    from realtime.presence.service import Presence
    from realtime.rooms.service import Rooms

    Finish: TypeAlias = Callable[[Callable[[bytes], None]], None]

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_OK = _encode(socket.Ok())
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    name: msgspec.json.Decoder(request).decode for name, (request, _) in socket.REQUESTS.items()
}
_AUTH = msgspec.json.Decoder(socket.ConnectAuth).decode
_MAYBE_AUTH = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_EMPTY = (b"null", b'""')
MAX_WAITING = 100  # requests of one connection that wait their turn
MAX_DEPTH = 32  # of the data of a signal


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


class Dispatch:
    """The gateway's `Application`: what connections mean.

    Args:
        accounts, rooms, feeds, presence: The services.
        codec: Takes the JSON out of frames, for catch-up.
        hub: The register of connections.
        node: This node's id, for `ready`.
        limits: What a connection may do, told in `ready` and held here.
        connections_per_user: How many one user may have on this node.
        admit_send: Takes a message with this text, or none, from a user's budgets; or raises RateLimited or QuotaExceeded.
        publish_signal: Sends a signal's frame to the other nodes.
        clock: Monotonic seconds.
        requested: Called with (event name, error code or "ok", seconds until the answer).
        requests: What each connection may ask; None: as much as it likes.
    """

    def __init__(
        self,
        accounts: Accounts,
        rooms: Rooms,
        feeds: Feeds,
        presence: Presence,
        codec: EventCodec,
        hub: Hub,
        node: str,
        limits: socket.Limits,
        connections_per_user: int,
        admit_send: Callable[[UserId, str | None], None],
        publish_signal: Callable[[RoomId, bytes], None],
        clock: Callable[[], float],
        requested: Callable[[str, str, float], None],
        requests: Rate | None = None,
    ) -> None:
        self._accounts = accounts
        self._rooms = rooms
        self._feeds = feeds
        self._presence = presence
        self._codec = codec
        self._hub = hub
        self._node = node
        self._limits = limits
        self._connections_per_user = connections_per_user
        self._admit_send = admit_send
        self._publish_signal = publish_signal
        self._clock = clock
        self._requested = requested
        self._requests = requests
        self._choose = self._queued(self._choose_presence)
        self._handlers: dict[str, Callable[[Call, Any], None]] = {
            "message.send": self._send,
            "message.edit": self._edit,
            "message.delete": self._delete,
            "signal": self._signal,
            "room.subscribe": self._queued(self._subscribe),
            "room.unsubscribe": self._queued(self._unsubscribe),
            "presence.set": self._set_presence,
            "presence.watch": self._queued(self._watch),
            "auth.refresh": self._refresh,
        }

    # -- the gateway's port -----------------------------------------------------------------------

    def authenticate(self, connection: Connection, auth: bytes) -> model.Principal:
        """Check the token of a CONNECT packet: one signature, no database."""
        principal = self._accounts.authenticate(_token(auth))
        if principal.user is None:
            raise errors.Forbidden("Only users connect.")
        if not self._hub.has_room(principal.user.id, connection, self._connections_per_user):
            raise errors.TooManyConnections(retry_after_ms=10_000)
        return principal

    def connected(self, connection: Connection) -> None:
        peer = connection.app = Peer(connection, self._presence.lost_room)
        self._hub.add(peer)
        self._presence.connected(peer.user)
        principal = connection.principal
        peer.emit(
            "ready",
            socket.Ready(
                user=User.of(connection.user),
                session=principal.credential,
                node=self._node,
                limits=self._limits,
                epoch=self._feeds.epoch,
            ),
        )

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        peer: Peer = connection.app
        peer.closed = True
        for room in peer.rooms:
            self._feeds.unsubscribe(peer, room)
        self._feeds.forget(peer)
        peer.rooms.clear()
        peer.waiting.clear()
        self._hub.discard(peer)
        self._presence.unwatch(peer)
        self._presence.disconnected(peer.user, idle=peer.idle)

    def guest_came(self, connection: Connection) -> None:
        self._hub.admit(connection)

    def guest_went(self, connection: Connection) -> None:
        self._hub.dismiss(connection)

    def event(self, connection: Connection, name: str, arguments: bytes, packet_id: int | None) -> None:
        handler = self._handlers.get(name)
        now_s = self._clock()
        call = Call(connection.app, packet_id, name if handler else "unknown", now_s)
        try:
            if self._requests is not None and (wait_s := self._requests.take(connection, now_s)) > 0:
                connection.overdrawn()
                raise errors.RateLimited(retry_after_ms=_ms(wait_s))
            if handler is None:
                raise errors.UnknownEvent
            try:
                request = _DECODERS[name](arguments or b"{}")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                request = _request(name, arguments)  # once more, to say what is wrong
            handler(call, request)
        except errors.RealtimeError as error:
            self._refuse(call, error)

    def too_large(self, connection: Connection, name: str, packet_id: int) -> None:
        now_s = self._clock()
        if self._requests is not None and self._requests.take(connection, now_s) > 0:
            connection.overdrawn()
        known = name if name in self._handlers else "unknown"
        self._refuse(Call(connection.app, packet_id, known, now_s), errors.PayloadTooLarge())

    # -- answers ----------------------------------------------------------------------------------

    def _ack(self, call: Call, answer: bytes) -> None:
        self._requested(call.name, "ok", self._clock() - call.at_s)
        if call.packet_id is not None:
            call.peer.connection.ack(call.packet_id, answer)

    def _refuse(self, call: Call, error: errors.RealtimeError) -> None:
        self._requested(call.name, error.code, self._clock() - call.at_s)
        if call.packet_id is not None:
            call.peer.connection.ack(call.packet_id, _encode(socket.Refused(error=Error.of(error))))

    def _queued(self, serve: Callable[[Peer, Any], Coroutine[None, None, Finish]]) -> Callable[[Call, Any], None]:
        """Make a handler that runs after the connection's earlier queued requests.

        Args:
            serve: Returns what is still to be done in the turn of the ack: it is called with what sends that.
        """

        def handler(call: Call, request: Any) -> None:
            peer = call.peer
            if len(peer.waiting) >= MAX_WAITING:
                raise errors.Overloaded("Too many requests of this connection are waiting.", retry_after_ms=500)
            peer.waiting.append(lambda: self._run(call, serve(peer, request)))
            if peer.tail is None:
                peer.tail = asyncio.get_running_loop().create_task(self._drain(peer))

        return handler

    async def _run(self, call: Call, serving: Coroutine[None, None, Finish]) -> None:
        try:
            finish = await serving
            # No await between the service's return and the ack: live events must come behind it.
            if not call.peer.closed:
                finish(partial(self._ack, call))
        except errors.RealtimeError as error:
            self._refuse(call, error)
        except Exception:
            logger.exception(
                "request failed",
                extra={"event": call.name, "connection": call.peer.connection.id, "user": call.peer.user},
            )
            self._refuse(call, errors.Internal())

    @staticmethod
    async def _drain(peer: Peer) -> None:
        while peer.waiting:
            try:
                await peer.waiting.pop(0)()
            except Exception as error:  # noqa: BLE001 - what the connection asked behind it is to be served
                tasks.report(asyncio.get_running_loop(), "a queued request", error)
        peer.tail = None

    # -- messages ---------------------------------------------------------------------------------

    def _send(self, call: Call, request: socket.MessageSend) -> None:
        self._append(call, request.room, EventKind.MESSAGE_CREATED, request.client_id, None, request.body)

    def _edit(self, call: Call, request: socket.MessageEdit) -> None:
        self._append(call, request.room, EventKind.MESSAGE_EDITED, request.client_id, request.seq, request.body)

    def _delete(self, call: Call, request: socket.MessageDelete) -> None:
        self._append(call, request.room, EventKind.MESSAGE_DELETED, request.client_id, request.seq, None)

    def _append(
        self, call: Call, room: str, kind: EventKind, client_id: str | None, target: int | None, body: str | None
    ) -> None:
        user = call.peer.user
        self._admit_send(user, body)
        # Not a closure: its cells cost 1 µs a message.
        self._rooms.append(user, room, kind, client_id, target, body, partial(self._appended, call))

    def _appended(self, call: Call, result: Committed | errors.RealtimeError) -> None:
        if call.peer.closed:
            return
        if isinstance(result, Committed):
            self._ack(call, _encode(socket.Appended(seq=result.seq, at=time(result.at), duplicate=result.duplicate)))
        else:
            self._refuse(call, result)

    def _signal(self, call: Call, request: socket.Signal) -> None:
        peer, room = call.peer, RoomId(request.room)
        if room not in peer.rooms:
            raise errors.NotSubscribed
        if _deeper_than(request.data, MAX_DEPTH):
            raise errors.InvalidRequest(f"The data of a signal is at most {MAX_DEPTH} levels deep.", field="$.data")
        wait_s = peer.signal_wait_s(room, self._limits.signals_per_s, self._clock())
        if wait_s > 0:
            raise errors.RateLimited(retry_after_ms=_ms(wait_s))
        payload = socket.SignalEmitted(room=room, user=peer.user, kind=request.kind, data=request.data)
        frame = event_frame("signal", _encode(payload))
        self._feeds.signal(room, frame, peer)
        self._publish_signal(room, frame)
        self._ack(call, _OK)

    # -- rooms ------------------------------------------------------------------------------------

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

    async def _unsubscribe(self, peer: Peer, request: socket.RoomUnsubscribe) -> Finish:
        for one in request.rooms:
            room = RoomId(one if isinstance(one, str) else one.room)
            peer.rooms.discard(room)
            peer.signals.pop(room, None)
            self._feeds.unsubscribe(peer, room)
            self._presence.unwatch_room(peer, room)
        return lambda ack: ack(_OK)

    # -- presence and tokens ----------------------------------------------------------------------

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

    def _set_presence(self, call: Call, request: socket.PresenceSet) -> None:
        peer = call.peer
        if request.status is None and request.text is None and request.idle is None:
            raise errors.InvalidRequest("Nothing is chosen: give a status, a text, or whether you are idle.")
        if request.idle is not None and request.idle is not peer.idle:
            peer.idle = request.idle
            self._presence.set_idle(peer.user, idle=peer.idle)
        if request.status is None and request.text is None:
            self._ack(call, _encode(socket.PresenceChosen()))
        else:
            self._choose(call, request)

    async def _choose_presence(self, peer: Peer, request: socket.PresenceSet) -> Finish:
        setting = await self._presence.choose(peer.user, request.status, request.text, request.text_expires_in_s)
        return lambda ack: ack(_encode(socket.PresenceChosen(presence=OwnPresence.of(setting))))

    def _refresh(self, call: Call, request: socket.AuthRefresh) -> None:
        peer = call.peer
        principal = self._accounts.authenticate(request.token)
        if principal.credential != peer.credential:
            raise errors.TokenInvalid("This token belongs to another sign-in.")
        expires_in = peer.connection.renew(principal)
        self._ack(call, _encode(socket.Refreshed(expires_in=expires_in)))

    # -- from the other services ------------------------------------------------------------------

    def tell_user(self, user: UserId, name: str, payload: bytes) -> None:
        """Emit an event on every connection of a user on this node."""
        for peer in self._hub.of_user(user):
            peer.connection.emit(name, payload)

    def expel(self, user: UserId, room: RoomId, reason: str, seq: int) -> None:
        """Stop a room for all connections of a user on this node, and tell those that did not receive it too."""
        self._presence.departed(user, room)
        others = [peer for peer in self._hub.of_user(user) if room not in peer.rooms]
        self._feeds.expel(room, user, reason, seq)
        for peer in others:
            peer.removed(room, reason)

    def end_session(self, session: model.SessionId) -> None:
        """Close every connection of one sign-in on this node."""
        for connection in self._hub.connections_of_session(session):
            connection.close(CloseReason.SESSION_ENDED)

    def drain(self, spread_s: float) -> list[tuple[float, Peer]]:
        """Tell all connections when to come back, spread over that time; return how long from now each has, in order."""
        peers = list(self._hub)
        leaving = [(spread_s * index / len(peers), peer) for index, peer in enumerate(peers)]
        for after_s, peer in leaving:
            peer.emit("server.drain", socket.ServerDrain(reconnect_after_ms=int(after_s * 1000)))
        return leaving


def _token(auth: bytes) -> str:
    """Take the token out of the payload of a CONNECT packet, in every form in which clients say that they have none.

    Raises:
        TokenMissing: no payload, `null`, `{}`, or a `token` that is `null` or empty.
        InvalidRequest, InvalidJson: anything else that is no object with a token.
    """
    try:
        return decode(_AUTH, auth).token
    except errors.RealtimeError:
        fields = decode(_MAYBE_AUTH, auth or b"null")
        if fields is None or bytes(fields.get("token", b"null")) in _EMPTY:
            raise errors.TokenMissing from None
        raise


def own_presence(setting: model.PresenceSetting) -> bytes:
    """Encode the payload of `presence` that tells people what they chose themselves."""
    return _encode(socket.Presence(users=[], own=OwnPresence.of(setting)))


def room_added(room: model.Room) -> bytes:
    """Encode the payload of `room.added`."""
    return _encode(socket.RoomAdded(room=Room.of(room)))


def _request(name: str, arguments: bytes) -> Any:
    try:
        return decode(_DECODERS[name], arguments or b"{}")
    except errors.InvalidJson:
        if count_arguments(arguments) > 1:
            raise errors.InvalidRequest("An event has one argument, an object.") from None
        raise


def _ms(wait_s: float) -> int:
    return max(1, int(wait_s * 1000) + 1)


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
