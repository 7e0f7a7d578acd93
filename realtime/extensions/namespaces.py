"""Namespaces of your own beside `/`: python-socketio's server API over our engine.

Extensions register handlers and `socketio.AsyncNamespace` classes on an `Extensions`, which is a `socketio.AsyncServer`.
Packets, attachments, sizes and rates are checked before they get here (`connection.py`); what is sent goes through the same
bounded session as everything else. A client costs nothing here until it connects to such a namespace, and no task unless
one of its packets is being handled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

import msgspec
import socketio as python_socketio

from realtime import errors
from realtime.extensions.client_manager import ClientManager, ExtensionPacket, Publish, frame_of
from realtime.extensions.guest import Carrier, Guest
from realtime.gateway import socketio
from realtime.gateway.ports import PRINCIPAL
from realtime.gateway.sids import new_sid
from realtime.wire import socket
from realtime.wire.types import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from realtime.model import Principal

logger = logging.getLogger(__name__)


class Extensions(python_socketio.AsyncServer):  # type: ignore[misc]  # python-socketio has no types
    """A `socketio.AsyncServer` whose engine is ours.

    Events of one client are handled one after the other, in the order in which they came, in all its namespaces together;
    acks to `call()` overtake them. A handler that raises a `RealtimeError` refuses: the ack, or the CONNECT_ERROR, says so.

    Args:
        limit_bytes: What may wait for the handlers of one client.
        options: Of `socketio.AsyncServer`; those of the engine have no effect.
    """

    def __init__(self, limit_bytes: int = 1 << 20, **options: Any) -> None:
        self.limit_bytes = limit_bytes
        self._anonymous: set[str] = set()
        quiet = logging.getLogger(f"{__name__}.python_socketio")
        quiet.setLevel(logging.WARNING)  # below that it logs sids and the name of every event
        options.setdefault("logger", quiet)
        namespaces = options.pop("namespaces", None)
        super().__init__(client_manager=ClientManager(time.monotonic), serializer=ExtensionPacket, **options)
        self.namespaces = namespaces if namespaces is not None else ["/"]  # its own takes no empty list
        self.eio: _Engine

    # -- for extensions ---------------------------------------------------------------------------

    def allow_anonymous(self, namespace: str) -> None:
        """Let clients connect to a namespace without an access token; their principal is None."""
        self._anonymous.add(namespace)

    def principal(self, sid: str, namespace: str) -> Principal | None:
        """Return who a client is."""
        environ = self.get_environ(sid, namespace)
        found: Principal | None = None if environ is None else environ.get(PRINCIPAL)
        return found

    async def call(
        self, event: str, data: Any = None, to: str | None = None, sid: str | None = None, namespace: str | None = None,
        timeout: float = 60, ignore_queue: bool = False,
    ) -> Any:  # fmt: skip
        """Emit an event to one client and wait for its ack.

        Raises:
            socketio.exceptions.TimeoutError: there was none in time.
            socketio.exceptions.DisconnectedError: the client has gone; its handler need not wait for the time-out.
        """
        client, namespace = to or sid, namespace or "/"
        if client is None:
            raise ValueError("call() asks one client")
        try:
            if self.manager.is_here(client, namespace):
                values = await self.ask_here(event, data, client, namespace, timeout)
            else:
                values = await self.manager.ask(event, data, client, namespace, timeout)
        except TimeoutError:
            raise python_socketio.exceptions.TimeoutError from None
        if values is None:
            raise python_socketio.exceptions.DisconnectedError
        return values if len(values) > 1 else values[0] if values else None

    async def ask_here(self, event: str, data: Any, sid: str, namespace: str, within_s: float) -> tuple[Any, ...] | None:
        """Emit an event to a client of this node and return its ack; None when it has gone. Raises TimeoutError."""
        guest = self.eio.guests.get(self.manager.eio_sid_from_sid(sid, namespace))
        if guest is None or guest.is_gone:
            return None
        answered: asyncio.Future[tuple[Any, ...] | None] = asyncio.get_running_loop().create_future()

        def take(*values: Any) -> None:
            if not answered.done():
                answered.set_result(values)

        guest.calls.append(answered)
        try:
            await self.emit(event, data, to=sid, namespace=namespace, callback=take, ignore_queue=True)
            return await asyncio.wait_for(answered, within_s)
        finally:
            guest.calls.remove(answered)

    def instrument(self, *_: Any, **__: Any) -> Any:
        """Not served: Socket.IO's admin page looks into the engine of python-socketio, which is not there.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "instrument() needs python-socketio's own engine; look at the operator's page, #/server, instead"
        )

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        guest = self.eio.guests.get(self.manager.eio_sid_from_sid(sid, namespace or "/"))
        if guest is not None:
            guest.sent_away.add(namespace or "/")
        await super().disconnect(sid, namespace, ignore_queue)
        if guest is not None:
            guest.look_around()

    # -- for connections --------------------------------------------------------------------------

    def serves(self, namespace: str) -> bool:
        """Tell whether somebody registered this namespace."""
        if "?" in namespace:  # python-socketio cuts it there
            return False
        return self.namespaces == "*" or any(
            namespace in those for those in (self.handlers, self.namespace_handlers, self.namespaces)
        )

    def needs_token(self, namespace: str) -> bool:
        return namespace not in self._anonymous and "*" not in self._anonymous

    def settle(self) -> None:
        """Let handlers for every namespace (`namespace="*"`) have them: python-socketio asks its settings besides."""
        if "*" in self.handlers or "*" in self.namespace_handlers:
            self.namespaces = "*"

    def guest(self, carrier: Carrier, environ: dict[str, object]) -> Guest:
        """Begin to serve a client."""
        guest = Guest(self, carrier, self.eio.generate_id(), environ)
        self.eio.guests[guest.id] = guest
        return guest

    def close(self) -> None:
        """Cancel what the extensions run in the background."""
        self.eio.close()

    # -- for the other nodes ----------------------------------------------------------------------

    def join(self, node: str, publish: Publish) -> None:
        """Reach the clients of the other nodes from now on, and be reached by what is published there (`received`)."""
        self.manager.join(node, publish)

    def received(self, parts: Sequence[bytes]) -> None:
        """Take what another node published. Raises ValueError: it is nothing of ours."""
        self.manager.received(parts)

    # -- python-socketio's hooks ------------------------------------------------------------------

    def _engineio_server_class(self) -> type[_Engine]:
        return _Engine

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: list[Any]) -> None:
        # Its own starts a task for each event, which would mix up the events of one client.
        namespace = namespace or "/"
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if not self.manager.is_connected(sid, namespace):
            return  # this server disconnected the client while the event was on its way
        try:
            if self._is_unknown(namespace, data[0]):
                raise errors.UnknownEvent
            answer = await self._trigger_event(data[0], namespace, sid, *data[1:])
        except errors.RealtimeError as error:
            answer = refusal(error)
        except python_socketio.exceptions.DisconnectedError:
            return  # it asked a client that has gone
        except Exception:
            logger.exception("a handler of an extension failed", extra={"namespace": namespace})
            answer = refusal(errors.Internal())
        if id is not None:
            values = [] if answer is None else list(answer) if isinstance(answer, tuple) else [answer]
            await self._send_packet(eio_sid, ExtensionPacket(socketio.ACK, namespace=namespace, id=id, data=values))

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        try:
            await super()._handle_disconnect(eio_sid, namespace, reason)
        except Exception:
            logger.exception("the disconnect handler of an extension failed", extra={"namespace": namespace})
            await self.manager.disconnect(self.manager.sid_from_eio_sid(eio_sid, namespace or "/"), namespace or "/")

    def _is_unknown(self, namespace: str, event: str) -> bool:
        handler, _ = self._get_event_handler(event, namespace, ())
        if handler is not None:
            return False
        found, _ = self._get_namespace_handler(namespace, ())
        if found is None:
            return True
        routes_itself = type(found).trigger_event is not python_socketio.AsyncNamespace.trigger_event
        return not routes_itself and not hasattr(found, f"on_{event}")


class _Engine:
    """The face of `engineio.AsyncServer` that `socketio.AsyncServer` looks at."""

    async_mode = "aiohttp"

    def __init__(self, **_options: Any) -> None:
        self.handlers: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {}
        self.guests: dict[str, Guest] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def on(self, event: str, handler: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self.handlers[event] = handler

    def generate_id(self) -> str:
        return new_sid()

    async def send(self, sid: str, data: str | bytes) -> None:
        guest = self.guests.get(sid)
        if guest is not None:
            guest.send(frame_of(data))

    async def send_packet(self, sid: str, packet: Any) -> None:
        await self.send(sid, packet.data)

    async def disconnect(self, sid: str) -> None:
        guest = self.guests.get(sid)
        if guest is not None:
            guest.hang_up()

    async def get_session(self, sid: str) -> dict[str, Any]:
        return self.guests[sid].session

    async def save_session(self, sid: str, session: dict[str, Any]) -> None:
        self.guests[sid].session = session

    def transport(self, sid: str) -> str:
        return self.guests[sid].transport

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(target(*args, **kwargs))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    def create_event(self) -> asyncio.Event:
        return asyncio.Event()

    async def shutdown(self) -> None:
        for guest in list(self.guests.values()):
            guest.hang_up()

    def attach(self, *_: Any) -> None:
        raise NotImplementedError("the gateway serves the path; there is nothing to attach to")

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


def refusal(error: errors.RealtimeError) -> dict[str, Any]:
    """Make the ack that refuses, as the contract has it."""
    found: dict[str, Any] = msgspec.to_builtins(socket.Refused(error=Error.of(error)))
    return found
