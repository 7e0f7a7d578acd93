"""What travels between the conductor and the client processes."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field

from loadtest.client.checker import Violations


class Slot(enum.IntEnum):
    """What each process shows all the time, for progress bars and for senders that wait for everybody."""

    SETTLED, DELIVERED, ACKED, LOST = range(4)


@dataclass(frozen=True, slots=True)
class Setup:
    """Where and how a client process connects.

    Args:
        dialect: A name from `protocols.names`.
        host, port: Of the server.
        number, processes: Which of how many processes this is.
        seed: For arrivals and choices; printed with every report.
        sources: Local addresses to come from, in turn; more than 28,000 connections need more than one.
        core: To stay on; None for any.
    """

    dialect: str
    host: str
    port: int
    number: int
    processes: int
    seed: int
    sources: tuple[str, ...] = ("",)
    core: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One connection to make: with which credential, for which room, and whether it receives that room."""

    credential: str
    room: str = ""
    subscribe: bool = True


@dataclass(slots=True)
class Gathered:
    """What a process saw since it was last asked. Histograms are encoded."""

    latency: bytes
    connecting: bytes
    settling: bytes
    deliveries: int = 0
    acks: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    resets: int = 0
    caught_up: int = 0
    heartbeats: int = 0
    received_bytes: int = 0
    busy: float = 0.0
    """Share of a core that the busiest client process used."""
    violations: Violations = field(default_factory=Violations)


@dataclass(frozen=True, slots=True)
class Sent:
    """What a load of sends came to."""

    sent: int
    acked: int
    seconds: float
    heads: dict[str, int]
    """The highest acked seq by room."""
