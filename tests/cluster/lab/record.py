"""What a run writes down. All times are seconds of CLOCK_MONOTONIC, which the processes of one machine share."""

from __future__ import annotations

import msgspec


class Sent(msgspec.Struct, array_like=True, gc=False):
    """One try to send one message. `outcome` stays `unknown` until an answer says more.

    `ok`: acked. `fail`: refused for good, so it was not carried out. `unknown`: anything else; it may be stored or not.
    """

    connection: int
    order: int  # among the requests of its connection
    user: str
    room: str
    client_id: str
    invoked_s: float
    ended_s: float = 0.0
    outcome: str = "unknown"
    seq: int = 0
    duplicate: bool = False
    code: str = ""


class Subscribed(msgspec.Struct, array_like=True, tag="subscribed", gc=False):
    """The answer to a subscription; `events` are the (seq, name) of what it brought, `behind` how many more were missed and
    follow in parts.
    """

    room: str
    at_s: float
    since: int | None
    head_seq: int
    reset: bool
    events: list[tuple[int, str]]
    behind: int = 0


class Delivered(msgspec.Struct, array_like=True, tag="delivered", gc=False):
    """An event that came by itself: live, or missed before. `name` is its `client_id`, or its kind where it has none."""

    room: str
    at_s: float
    seq: int
    name: str


class Reset(msgspec.Struct, array_like=True, tag="reset", gc=False):
    """The server said that the connection has to read the room again."""

    room: str
    at_s: float
    head_seq: int


class Removed(msgspec.Struct, array_like=True, tag="removed", gc=False):
    """The server said that nothing of the room follows."""

    room: str
    at_s: float


Item = Subscribed | Delivered | Reset | Removed


class Connection(msgspec.Struct, array_like=True):
    """One socket: what came on it, in the order in which it came. Zero times: it did not get so far.

    `stopped_s` is when the client stopped reading: what it got afterwards is no measure of the server.
    """

    number: int
    client: int
    user: str
    opened_s: float
    node: str = ""
    ready_s: float = 0.0
    subscribed_s: float = 0.0
    closed_s: float = 0.0
    reason: str = ""
    stopped_s: float = 0.0
    items: list[Item] = msgspec.field(default_factory=list)


class Absent(msgspec.Struct, array_like=True):
    """A client that was not there, with everything, when the run ended."""

    client: int
    user: str
    why: str


class Record(msgspec.Struct):
    """What the load saw. `mismatches` are answers that belong to another request than the one they came for."""

    seed: int
    started_s: float
    sent: list[Sent] = msgspec.field(default_factory=list)
    connections: list[Connection] = msgspec.field(default_factory=list)
    mismatches: list[str] = msgspec.field(default_factory=list)
    absent: list[Absent] = msgspec.field(default_factory=list)
    skipped: int = 0
    finished_s: float = 0.0


class Stored(msgspec.Struct, array_like=True, gc=False):
    """A row of the log, read from PostgreSQL when all was over. `name` as in `Delivered`."""

    room: str
    seq: int
    name: str
    actor: str
    body: str


class Revoked(msgspec.Struct, array_like=True):
    """From `at_s` plus `bound_s` on, a user gets nothing of a room; no room: nothing at all."""

    user: str
    room: str
    at_s: float
    bound_s: float
    why: str


class Period(msgspec.Struct, array_like=True):
    """When a fault lasted."""

    name: str
    began_s: float
    ended_s: float


def body_of(client_id: str, size: int) -> str:
    """Make the text of a message, so that the checker can tell it from every other."""
    return f"{client_id} ".ljust(size, "x")
