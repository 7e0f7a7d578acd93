"""The clients of extensions, here and on the other nodes: python-socketio's client manager, over our bus.

What an extension does to a room, or to a client that is not here, is told to the other nodes: an emit, a client that enters or
leaves a room or is disconnected, a room that is closed, a question (`call`, or an emit with a callback) and its answer. As with
python-socketio's own managers each reaches a client at most once, and what a node was not reached by is lost. An emit is encoded
once; the other nodes write the same bytes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import socketio as python_socketio
from socketio.packet import Packet

from realtime import errors
from realtime.gateway import socketio, websocket
from realtime.limits import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Room: TypeAlias = str | int | float | None
Publish: TypeAlias = "Callable[[Sequence[bytes]], bool]"
"""Sends a message to the other nodes, or gives it up; tells whether any is known to be there. Nothing: only tells."""

MAX_BYTES = 1 << 20
"""Of what is told to the other nodes at once; a client of theirs may have no more unsent."""
_BLOCK_BYTES = 1024
_BLOCKS_PER_S = 16 << 10  # 16 MiB: what one node tells the others in the long run, half of it at once
_QUESTIONS = 1000  # of other nodes, that clients of this one have not answered yet
_GONE = 10_000  # clients that were here: nobody else is asked for them
_ANSWER_S = 60.0  # how long a callback may be waited for


class Told(msgspec.Struct, array_like=True, frozen=True, omit_defaults=True):
    """The head of a message; what follows it depends on the method.

    Args:
        method: `emit` (followed by frames), `enter`, `leave`, `close`, `disconnect`, `ask` and `answer` (followed by a packet and
            its attachments). Others belong to releases to come, and are ignored.
        room: To whom; for an `ask` and where one client is meant its sid.
        skip: Clients that are left out.
        sid: Who enters or leaves.
        asker: The node that asks.
        number: Of its question.
        within_s: How long it waits.
        gone: The client that was asked has gone.
    """

    method: str
    namespace: str
    room: Room | list[Room] = None
    skip: list[str] = []
    sid: str = ""
    asker: str = ""
    number: int = 0
    within_s: float = 0.0
    gone: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Told).decode


class _Json:
    """The JSON module of packets: msgspec, which bounds depth and digits and refuses lone surrogates."""

    loads = staticmethod(msgspec.json.Decoder().decode)

    @staticmethod
    def dumps(value: Any, **_options: Any) -> str:
        return msgspec.json.encode(value).decode()


class ExtensionPacket(Packet):  # type: ignore[misc]  # python-socketio has no types
    json = _Json


class ClientManager(python_socketio.AsyncManager):  # type: ignore[misc]  # python-socketio has no types
    """Encodes an event once and writes it to each recipient, where its own starts a task for each of them.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._node = ""
        self._publish: Publish = lambda _parts: False
        self._budget = TokenBucket(_BLOCKS_PER_S, _BLOCKS_PER_S / 2, clock())
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[tuple[Any, ...] | None]] = {}
        self._questions = 0
        self._gone: OrderedDict[str, None] = OrderedDict()

    def join(self, node: str, publish: Publish) -> None:
        """Tell the other nodes from now on.

        Args:
            node: This one, for the answers to its questions.
        """
        self._node = node
        self._publish = publish

    def is_here(self, sid: Any, namespace: str) -> bool:
        """Tell whether a client of this node has this sid, be it only connecting or about to go."""
        return sid in self.rooms.get(namespace, {}).get(None, {})

    # -- out --------------------------------------------------------------------------------------

    async def emit(
        self, event: str, data: Any, namespace: str, room: Any = None, skip_sid: Any = None, callback: Any = None, to: Any = None,
        **more: Any,
    ) -> None:  # fmt: skip
        """Emit to the clients of a room, of several, or of the namespace, on all nodes.

        Raises:
            PayloadTooLarge: more than the other nodes take.
            Overloaded: more than is told to them in a second. Nobody was written to.
        """
        room = to or room
        ignores = bool(more.get("ignore_queue"))
        if callback is not None:
            if not ignores and isinstance(room, str) and self._may_be_elsewhere(room, namespace):
                self.server.eio.start_background_task(self._ask_for, callback, event, data, room, namespace)
            else:
                await super().emit(event, data, namespace, room=room, skip_sid=skip_sid, callback=callback)
            return
        skip = skip_sid if isinstance(skip_sid, list) else [skip_sid]
        frames = b"".join(map(frame_of, _packet(socketio.EVENT, namespace, [event, *_values(data)])))
        if not (ignores or (isinstance(room, str) and (self.is_here(room, namespace) or room in self._gone))):
            self._tell(Told("emit", namespace, _portable(room), [sid for sid in skip if sid is not None]), frames)
        self._write(namespace, room, skip, frames)

    def _write(self, namespace: str, room: Any, skip: Sequence[Any], frames: bytes) -> None:
        guests = self.server.eio.guests
        for sid, guest_id in self.get_participants(namespace, room):
            guest = guests.get(guest_id)
            if guest is not None and sid not in skip:
                guest.emit(namespace, frames)

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        if not self.is_here(sid, namespace) and self._may_be_elsewhere(sid, namespace):
            self._tell(Told("disconnect", namespace, sid=sid))
        return bool(await super().can_disconnect(sid, namespace))

    async def disconnect(self, sid: str, namespace: str, **more: Any) -> Any:
        self._gone[sid] = None
        if len(self._gone) > _GONE:
            self._gone.popitem(last=False)
        return await super().disconnect(sid, namespace, **more)

    async def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: Any = None) -> None:
        if eio_sid is None and self._may_be_elsewhere(sid, namespace):
            self._tell(Told("enter", namespace, _portable(room), sid=sid))
        else:
            await super().enter_room(sid, namespace, room, eio_sid=eio_sid)

    async def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        if self._may_be_elsewhere(sid, namespace):
            self._tell(Told("leave", namespace, _portable(room), sid=sid))
        else:
            await super().leave_room(sid, namespace, room)

    async def close_room(self, room: Any, namespace: str) -> None:
        self._tell(Told("close", namespace, _portable(room)))
        await super().close_room(room, namespace)

    async def ask(self, event: str, data: Any, sid: str, namespace: str, within_s: float) -> tuple[Any, ...] | None:
        """Emit an event to a client of another node and return its ack; None when it has gone. Raises TimeoutError."""
        if not self._may_be_elsewhere(sid, namespace):
            return None
        number = next(self._numbers)
        answered = self._asked[number] = asyncio.get_running_loop().create_future()
        told = Told("ask", namespace, sid=sid, asker=self._node, number=number, within_s=within_s)
        try:
            self._tell(told, *map(_bytes, _packet(socketio.EVENT, namespace, [event, *_values(data)])))
            return await asyncio.wait_for(answered, within_s)
        finally:
            del self._asked[number]

    async def _ask_for(self, callback: Callable[..., Any], event: str, data: Any, sid: str, namespace: str) -> None:
        try:
            values = await self.ask(event, data, sid, namespace, _ANSWER_S)
        except TimeoutError:
            return
        if values is not None and asyncio.iscoroutine(found := callback(*values)):
            await found

    def _may_be_elsewhere(self, room: Any, namespace: str) -> bool:
        """Whether a client, or a room of one, may be on another node: it is not and was not here, and there is one."""
        if self.is_here(room, namespace) or room in self._gone or room in self.rooms.get(namespace, {}):
            return False
        return self._publish(())

    def _tell(self, told: Told, *parts: bytes) -> None:
        if not self._publish(()):
            return
        size = sum(map(len, parts))
        if size > MAX_BYTES:
            raise errors.PayloadTooLarge(f"An extension may tell the other nodes {MAX_BYTES} bytes at once.")
        if self._budget.take(self._clock(), 1 + size // _BLOCK_BYTES) > 0:
            raise errors.Overloaded
        self._publish([_encode(told), *parts])

    # -- in ---------------------------------------------------------------------------------------

    def received(self, parts: Sequence[bytes]) -> None:
        """Take what another node told. Raises ValueError: it is nothing of ours."""
        if not parts:
            raise ValueError("a message without a head")
        told, rest = _decode(parts[0]), parts[1:]
        room, namespace = told.room, told.namespace
        if told.method == "emit":
            self._write(namespace, room, told.skip, b"".join(rest))
        elif told.method == "enter" and self.is_here(told.sid, namespace):
            self.basic_enter_room(told.sid, namespace, room)
        elif told.method == "leave" and self.is_here(told.sid, namespace):
            self.basic_leave_room(told.sid, namespace, room)
        elif told.method == "close":
            self.basic_close_room(room, namespace)
        elif told.method == "disconnect" and self.is_here(told.sid, namespace):
            self.server.eio.start_background_task(self.server.disconnect, told.sid, namespace, ignore_queue=True)
        elif told.method == "ask" and self.is_here(told.sid, namespace) and self._questions < _QUESTIONS:
            event, *values = _read(rest)
            self.server.eio.start_background_task(self._answer, told, event, tuple(values))
        elif told.method == "answer" and told.asker == self._node:
            answered = self._asked.get(told.number)
            if answered is not None and not answered.done():
                answered.set_result(None if told.gone else tuple(_read(rest)))

    async def _answer(self, told: Told, event: str, values: tuple[Any, ...]) -> None:
        self._questions += 1
        answer = Told("answer", told.namespace, asker=told.asker, number=told.number)
        try:
            found = await self.server.ask_here(event, values, told.sid, told.namespace, min(told.within_s, _ANSWER_S * 60))
        except TimeoutError:
            return
        finally:
            self._questions -= 1
        if found is None:
            self._tell(msgspec.structs.replace(answer, gone=True))
        else:
            self._tell(answer, *map(_bytes, _packet(socketio.ACK, told.namespace, list(found), told.number)))


def frame_of(part: str | bytes) -> bytes:
    """Make the WebSocket frame of a packet, or of an attachment."""
    if isinstance(part, str):
        return websocket.frame(b"4" + part.encode())
    return websocket.frame(bytes(part), websocket.BINARY)


def _values(data: Any) -> list[Any]:
    return [] if data is None else list(data) if isinstance(data, tuple) else [data]


def _packet(kind: int, namespace: str, data: list[Any], number: int | None = None) -> list[str | bytes]:
    encoded = ExtensionPacket(kind, namespace=namespace, data=data, id=number).encode()
    return encoded if isinstance(encoded, list) else [encoded]


def _bytes(part: str | bytes) -> bytes:
    return part.encode() if isinstance(part, str) else bytes(part)


def _read(parts: Sequence[bytes]) -> list[Any]:
    """Return the arguments of a packet. Raises ValueError."""
    if not parts:
        raise ValueError("a packet is missing")
    packet = ExtensionPacket(encoded_packet=parts[0].decode())
    for attachment in parts[1:]:
        packet.add_attachment(attachment)
    found: list[Any] = packet.data
    return found


def _portable(room: Any) -> Room | list[Room]:
    """Return a room, or several, as they travel. Raises TypeError for what is a key in this process only."""
    if isinstance(room, (list, tuple)):
        return [_one(each) for each in room]
    return _one(room)


def _one(room: Any) -> Room:
    if room is None or isinstance(room, (str, int, float)):
        return room
    raise TypeError("Rooms are strings or numbers: they have to mean the same on all nodes.")
