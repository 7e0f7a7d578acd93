"""The Socket.IO protocol, version 5, inside Engine.IO messages. Pure, no I/O.

Source: the Socket.IO protocol document, <https://github.com/socketio/socket.io-protocol>.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from realtime.gateway.websocket import frame, split

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)
ROOT = b"/"
RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener", "*"})
"""Names that servers and clients of Socket.IO give their own events, and python-socketio's for every event."""
MAX_ATTACHMENTS = 10
_HEAD = re.compile(rb"([0-6])(?:(\d{1,4})-)?(?:(/[^,]{0,255}),?)?(\d{1,19})?")
_PLAIN = re.compile(rb'2(\d{1,19})?\["([\x20\x21\x23-\x5b\x5d-\x7e]+)",').match
_NAME = re.compile(rb'\["([\x20\x21\x23-\x5b\x5d-\x7e]*)"([,\]])')
_CLOSING_BRACKET = 0x5D
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_values = msgspec.json.Decoder(list[Any]).decode
_name = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder().encode


class InvalidPacket(ValueError):
    """The peer sent what is no packet, or more than is allowed."""


class Packet(NamedTuple):
    """One packet. `data` is raw JSON, not looked at yet; `attachments` follow as binary messages."""

    kind: int
    namespace: bytes
    id: int | None
    attachments: int
    data: bytes


def decode(message: bytes) -> Packet:
    """Decode the head of a packet.

    Args:
        message: The data of an Engine.IO message.

    Raises:
        InvalidPacket: it has no such form.
    """
    head = _HEAD.match(message)
    if head is None:
        raise InvalidPacket("no packet type")
    kind = message[0] - 48
    binary = kind in (BINARY_EVENT, BINARY_ACK)
    if binary != (head[2] is not None):
        raise InvalidPacket("attachments are announced by binary packets, and only by them")
    attachments = int(head[2] or 0)
    if binary and not 1 <= attachments <= MAX_ATTACHMENTS:
        raise InvalidPacket(f"a packet has 1 to {MAX_ATTACHMENTS} attachments")
    return Packet(kind, head[3] or ROOT, int(head[4]) if head[4] else None, attachments, message[head.end() :])


def plain_event(message: bytes) -> tuple[str, bytes, int | None] | None:
    """Take apart, in one step, what nearly every packet is: an event with arguments in the namespace `/`.

    Returns:
        Name, arguments and packet id, as `decode` and `event` find them; None: it is something else.
    """
    head = _PLAIN(message)
    if head is None or message[-1] != _CLOSING_BRACKET:
        return None
    packet_id, name = head.groups()
    arguments = message[head.end() : -1]
    return (name.decode(), arguments, None if packet_id is None else int(packet_id)) if arguments else None


def event(data: bytes) -> tuple[str, bytes]:
    """Take the data of an event apart: its name, and its arguments as they are, joined by commas.

    What the arguments hold is looked at once, by whoever knows what they should be; a client that sends rubbish there gets
    an answer and keeps its connection.

    Raises:
        InvalidPacket: it is not an array that begins with a string.
    """
    head = _NAME.match(data)
    if head is not None and data.endswith(b"]"):
        if head[2] == b"," and head.end() < len(data) - 1:
            return head[1].decode(), data[head.end() : -1]
        if head.end() == len(data):
            return head[1].decode(), b""
    try:  # a name with escapes, or blanks where nobody writes them
        name, *arguments = _list(data)
        return _name(name), b",".join(arguments)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InvalidPacket("an event is an array that begins with its name") from error


def name_at(data: bytes) -> str:
    """Return the name with which the data of an event begins, whatever stands behind it; empty: none that can be told."""
    head = _NAME.match(data)
    return "" if head is None else head[1].decode()


def count_arguments(arguments: bytes) -> int:
    """Count the arguments of an event. Returns 0 too when they are not JSON."""
    try:
        return len(_list(b"[%b]" % arguments))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0


def check_placeholders(packet: Packet) -> None:
    """Check that the data of a binary packet is JSON whose placeholders name attachments that it has.

    Raises:
        InvalidPacket: they do not.
    """
    for value in _walk(values(packet.data)):
        if isinstance(value, dict) and value.get("_placeholder") is True:
            number = value.get("num")
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < packet.attachments:
                raise InvalidPacket("a placeholder names no attachment")


def values(data: bytes) -> list[Any]:
    """Decode the data of an event or ack: a JSON array.

    Raises:
        InvalidPacket: it is none.
    """
    try:
        return _values(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidPacket("the data of a packet is a JSON array") from error


def _walk(value: Any) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def event_frame(name: str, payload: bytes, namespace: bytes = ROOT) -> bytes:
    """Encode an event with one argument, given as JSON, as a WebSocket frame."""
    return frame(b'42%b["%b",%b]' % (b"" if namespace is ROOT else _head(namespace), name.encode(), payload))


def event_of(frame: bytes) -> tuple[str, bytes]:
    """Take a frame of `event_frame` apart: its name and the JSON of its argument.

    Raises:
        ValueError: it is something else.
    """
    [(_, packet)] = split(frame)
    name, quote, rest = packet.removeprefix(b'42["').partition(b'"')
    if not quote or rest[:1] != b"," or rest[-1:] != b"]":
        raise ValueError("not a frame of one event with one argument")
    return name.decode(), rest[1:-1]


def ack_frame(packet_id: int, answer: bytes, namespace: bytes = ROOT) -> bytes:
    """Encode an ack with one argument, given as JSON."""
    return frame(b"43%b%d[%b]" % (b"" if namespace is ROOT else _head(namespace), packet_id, answer))


def connect_frame(sid: str) -> bytes:
    return frame(b'40{"sid":"%b"}' % sid.encode())


def disconnect_frame(namespace: bytes = ROOT) -> bytes:
    return frame(b"41" + _head(namespace))


def connect_error_frame(namespace: bytes, message: str, data: object = None) -> bytes:
    """Encode a refusal of a CONNECT packet."""
    error = {"message": message} if data is None else {"message": message, "data": data}
    return frame(b"44%b%b" % (_head(namespace), _encode(error)))


def _head(namespace: bytes) -> bytes:
    return b"" if namespace == ROOT else namespace + b","
