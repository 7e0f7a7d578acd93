"""From an event name and raw JSON to a service, and from its answer to an ack.

Requests of one connection are taken in the order in which they came. Sends go to the writer without an await; requests
that must wait (subscribe) run one after the other per connection, on a task that exists only while there is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from realtime import errors
from realtime.auth import scopes
from realtime.gateway.connection import CloseReason, Connection
from realtime.gateway.socketio import count_arguments
from realtime.limits import retry_ms
from realtime.model import UserId
from realtime.operations import Caller
from realtime.surface.door import asks
from realtime.surface.socket.acks import Acks, Call
from realtime.surface.socket.hub import Hub
from realtime.surface.socket.peer import Peer
from realtime.wire import socket
from realtime.wire.decode import decode
from realtime.wire.types import User

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from realtime import model
    from realtime.limits import Rate
    from realtime.log.feeds import Feeds
    from realtime.operations import Served
    from realtime.presence.service import Presence
    from realtime.surface.door import Door
    from realtime.surface.socket.acks import Finish

    Handle: TypeAlias = Callable[[Call, Any], None]

_encode = msgspec.json.Encoder().encode
_AUTH = msgspec.json.Decoder(socket.ConnectAuth).decode
_MAYBE_AUTH = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_EMPTY = (b"null", b'""')


@dataclass(frozen=True, slots=True)
class Settings:
    """What connections are told, and held to.

    Args:
        node: This node's id, for `ready`.
        limits: What a connection may do, told in `ready`.
        connections_per_user: How many one user may have on this node.
        requests: What each connection may ask; None: as much as it likes.
    """

    node: str
    limits: socket.Limits
    connections_per_user: int
    requests: Rate | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What an event of the socket leads to: a row of the table, made ready for one look-up a request."""

    decode: Callable[[bytes], Any]
    scope: model.Scope | None
    handle: Handle


class Dispatch:
    """The gateway's `Application`: what connections mean.

    Args:
        operations: All of them, and what serves them.
        door: Judges who asks.
        acks: Answers.
        hub: The register of connections.
        feeds: Delivery on this node.
        presence: Who is here.
        settings: Bounds.
    """

    def __init__(
        self,
        operations: Sequence[Served],
        door: Door,
        acks: Acks,
        hub: Hub,
        feeds: Feeds,
        presence: Presence,
        settings: Settings,
    ) -> None:
        self._door = door
        self._acks = acks
        self._hub = hub
        self._feeds = feeds
        self._presence = presence
        self._settings = settings
        self._requests = settings.requests
        self._clock = acks.clock
        self._routes = {one.row.socket.name: self._route(one) for one in operations if one.row.socket is not None}

    # -- the table --------------------------------------------------------------------------------

    def _route(self, served: Served) -> Route:
        row = served.row
        charge = self._door.charges(row)
        if row.attend is not None:
            attend = partial(row.attend, served.service)
            handle = attend if charge is None else _charged(charge, attend)
        elif row.submit is not None:
            handle = self._submitting(served, charge or _free)
        else:
            handle = self._asking(served, charge or _free)
        return Route(msgspec.json.Decoder(row.request).decode, row.scope, handle)

    def _submitting(self, served: Served, charge: Callable[[UserId, Any], None]) -> Handle:
        submit, service, write = served.row.submit, served.service, _writer(served)
        assert submit is not None
        ok, refuse = self._acks.ok, self._acks.refuse

        def answered(call: Call, result: Any) -> None:
            if call.peer.closed:
                return
            if isinstance(result, errors.RealtimeError):
                refuse(call, result)
            else:
                ok(call, _encode(write(result)))

        def handle(call: Call, request: Any) -> None:
            user = call.peer.user
            charge(user, request)
            submit(service, user, request, partial(answered, call))  # not a closure: its cells cost 1 µs a message

        return handle

    def _asking(self, served: Served, charge: Callable[[UserId, Any], None]) -> Handle:
        row, ask, write = served.row, asks(served), _writer(served)

        async def serve(peer: Peer, request: Any) -> Finish:
            answer = await ask(Caller(peer.connection.principal, peer.connection.address), request)
            self._door.refund(row, peer.user, answer)
            return lambda ack: ack(_encode(write(answer)))

        def handle(call: Call, request: Any) -> None:
            charge(call.peer.user, request)
            self._acks.queue(call, partial(serve, call.peer, request))

        return handle

    # -- the gateway's port -----------------------------------------------------------------------

    def authenticate(self, connection: Connection, auth: bytes) -> model.Principal:
        """Check the token of a CONNECT packet: one signature, no database."""
        principal = self._door.authenticate(_token(auth))
        if principal.user is None:
            raise errors.Forbidden("Only users connect.")
        if not self._hub.has_room(principal.user.id, connection, self._settings.connections_per_user):
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
                node=self._settings.node,
                limits=self._settings.limits,
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
        route = self._routes.get(name)
        now_s = self._clock()
        peer: Peer = connection.app
        call = Call(peer, packet_id, name if route else "unknown", now_s)
        try:
            if self._requests is not None and (wait_s := self._requests.take(connection, now_s)) > 0:
                connection.overdrawn()
                raise errors.RateLimited(retry_after_ms=retry_ms(wait_s))
            if route is None:
                raise errors.UnknownEvent
            if route.scope not in peer.scopes:
                scopes.require(peer.scopes, route.scope)
            try:
                request = route.decode(arguments or b"{}")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                request = _request(route, arguments)  # once more, to say what is wrong
            route.handle(call, request)
        except errors.RealtimeError as error:
            self._acks.refuse(call, error)

    def too_large(self, connection: Connection, name: str, packet_id: int) -> None:
        now_s = self._clock()
        if self._requests is not None and self._requests.take(connection, now_s) > 0:
            connection.overdrawn()
        known = name if name in self._routes else "unknown"
        self._acks.refuse(Call(connection.app, packet_id, known, now_s), errors.PayloadTooLarge())


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


def _request(route: Route, arguments: bytes) -> Any:
    try:
        return decode(route.decode, arguments or b"{}")
    except errors.InvalidJson:
        if count_arguments(arguments) > 1:
            raise errors.InvalidRequest("An event has one argument, an object.") from None
        raise


def _writer(served: Served) -> Callable[[Any], Any]:
    """Return what makes the ack from the answer of the handler."""
    assert served.row.socket is not None
    return served.row.socket.write or _as_it_is


def _as_it_is(answer: Any) -> Any:
    return answer


def _free(_user: UserId, _request: Any) -> None:
    """Take nothing from a budget."""


def _charged(charge: Callable[[UserId, Any], None], attend: Handle) -> Handle:
    def handle(call: Call, request: Any) -> None:
        charge(call.peer.user, request)
        attend(call, request)

    return handle
