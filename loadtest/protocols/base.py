"""What a protocol must say, and what the bytes of a server may mean."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Greeted(NamedTuple):
    """The server waits for our credential."""


class Ready(NamedTuple):
    """The connection is authenticated and open for requests."""


class Reply(NamedTuple):
    """The server wants this answer: a heartbeat."""

    message: bytes


class Delivered(NamedTuple):
    """An event of a room. `stamp_ns` is 0 where it is not a message of ours."""

    seq: int
    stamp_ns: int


class Acked(NamedTuple):
    """A request was answered. `error` is empty when it was done."""

    request: int
    seq: int
    error: str


class Subscribed(NamedTuple):
    """A subscription holds from behind `head`.

    `events` are the seqs that were missed; None means that the server said `reset`.
    """

    request: int
    head: int
    events: list[int] | None


class Closed(NamedTuple):
    """The server ends the connection."""

    reason: str


Meaning = Greeted | Ready | Reply | Delivered | Acked | Subscribed | Closed


class Dialect(Protocol):
    """One server's protocol.

    `numbers` says that the server numbers events itself; otherwise the sender does, and a room has one sender.
    `answers` says that what is sent to a room is acked.
    `opcode` is the kind of WebSocket frame for our messages. `framed` is False for bare TCP.
    """

    numbers: bool
    answers: bool
    opcode: int
    framed: bool

    def request_line(self, authority: str, key: bytes) -> bytes:
        """Return the opening request."""

    def opening(self, credential: str) -> bytes:
        """Return what is sent right after the upgrade; empty when the server speaks first."""

    def hello(self, credential: str) -> bytes:
        """Return the answer to `Greeted`."""

    def subscribe(self, request: int, room: str, since: int | None) -> bytes:
        """Return the message that subscribes to a room."""

    def publish(self, request: int, room: str, seq: int, body: str) -> bytes:
        """Return the message that sends to a room. `seq` counts where the server does not number."""

    def echo(self, request: int, room: str, seq: int, body: str) -> bytes:
        """Return a request with an answer: the cheapest that the server has and that means something there."""

    def renew(self, request: int, credential: str) -> bytes:
        """Return the message that puts a new credential on an open connection; empty where there is none."""

    def read(self, opcode: int, payload: bytes) -> list[Meaning]:
        """Tell what a frame of the server means."""


def body_text(stamp_ns: int, size: int) -> str:
    """Return the text of a message: when it was due, and padding up to `size` characters."""
    return f"{stamp_ns}|".ljust(size, "x")


def number_after(payload: bytes, mark: bytes) -> int:
    """Return the digits behind a mark as a number; -1 when the mark is not there."""
    at = payload.find(mark)
    if at < 0:
        return -1
    start = end = at + len(mark)
    size = len(payload)
    while end < size and 48 <= payload[end] <= 57:
        end += 1
    return int(payload[start:end]) if end > start else -1


def delivered(payload: bytes) -> Delivered:
    """Read an event: every server here gets to carry a JSON object with `seq` and, for messages, `body`."""
    return Delivered(number_after(payload, b'"seq":'), max(0, number_after(payload, b'"body":"')))
