"""What a process of the sandbox and its owner say to each other, over a pair of sockets. Pure.

Both sides check every number before they make room for what it announces: the process is not believed, since foreign bytes may
have taken it over. What a process needs to start imports as little as this module does.
"""

from __future__ import annotations

import enum
import struct

_HELLO = struct.Struct("!4sB")
_REQUEST = struct.Struct("!QIHII")  # id, seconds of CPU, bytes of the function's name, of the answer at most, of the data
_ANSWER = struct.Struct("!QBI")  # id, status, bytes
HELLO_BYTES, REQUEST_BYTES, ANSWER_BYTES = _HELLO.size, _REQUEST.size, _ANSWER.size
_MAGIC = b"rws1"
MAX_NAME_BYTES = 256
MAX_BYTES = 1 << 26
"""Of data and answers, whatever a task permits."""


class Garbled(Exception):
    """What arrived is nothing that is ever sent."""


class Confined(enum.IntFlag):
    """What a process was kept from, where the system lets it be."""

    NETWORK = 1
    FILES = 2


class Status(enum.IntEnum):
    """How a task ended."""

    OK = 0
    REFUSED = 1  # the function raised ValueError: it is no such picture
    FAILED = 2  # it raised something else; the body is the name of the class
    MEMORY = 3
    LARGE = 4  # its answer is larger than asked for


class Request:
    """A task, without its data."""

    __slots__ = ("answer_bytes", "cpu_s", "data_bytes", "id", "name_bytes")

    def __init__(self, number: int, cpu_s: int, name_bytes: int, answer_bytes: int, data_bytes: int) -> None:
        self.id = number
        self.cpu_s = cpu_s
        self.name_bytes = name_bytes
        self.answer_bytes = answer_bytes
        self.data_bytes = data_bytes


def hello(confined: Confined) -> bytes:
    """Encode the first word of a process."""
    return _HELLO.pack(_MAGIC, confined)


def read_hello(data: bytes) -> Confined:
    """Decode it.

    Raises:
        Garbled: it is something else.
    """
    if len(data) != HELLO_BYTES or data[: len(_MAGIC)] != _MAGIC:
        raise Garbled
    return Confined(data[-1] & sum(Confined))


def request(number: int, function: str, cpu_s: int, answer_bytes: int, data: bytes) -> bytes:
    """Encode a task; its data goes behind it."""
    name = function.encode()
    return _REQUEST.pack(number, cpu_s, len(name), answer_bytes, len(data)) + name


def read_request(head: bytes) -> Request:
    """Decode the head of a task.

    Raises:
        Garbled: a number is out of its bounds.
    """
    if len(head) != REQUEST_BYTES:
        raise Garbled
    found = Request(*_REQUEST.unpack(head))
    if found.name_bytes > MAX_NAME_BYTES or found.answer_bytes > MAX_BYTES or found.data_bytes > MAX_BYTES or not found.cpu_s:
        raise Garbled
    return found


def answer(number: int, status: Status, body: bytes = b"") -> bytes:
    """Encode how a task ended."""
    return _ANSWER.pack(number, status, len(body)) + body


class AnswerReader:
    """Puts one answer together.

    Args:
        number: Of the task.
        answer_bytes: How large the body may be.
    """

    def __init__(self, number: int, answer_bytes: int) -> None:
        self._number = number
        self._answer_bytes = answer_bytes
        self._data = bytearray()
        self._whole_bytes = ANSWER_BYTES

    def feed(self, data: bytes) -> tuple[Status, bytes] | None:
        """Take what arrived; return the answer once it is whole.

        Raises:
            Garbled: it is the answer to something else, has a status that there is not, or is too large; or more follows.
        """
        self._data += data
        if self._whole_bytes == ANSWER_BYTES and len(self._data) >= ANSWER_BYTES:
            number, status, length = _ANSWER.unpack_from(self._data)
            if number != self._number or status > max(Status) or length > self._answer_bytes:
                raise Garbled
            self._whole_bytes += length
        if len(self._data) > self._whole_bytes:
            raise Garbled
        if len(self._data) < self._whole_bytes or len(self._data) < ANSWER_BYTES:
            return None
        return Status(self._data[ANSWER_BYTES - 5]), bytes(memoryview(self._data)[ANSWER_BYTES:])
