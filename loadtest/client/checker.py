"""Checks what connections receive: nothing lost, nothing twice, in order; and that acks name each seq once. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_SHOWN = 20


@dataclass(slots=True)
class Violations:
    """What was found, counted by kind; the first few in words."""

    counts: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)

    def add(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        if len(self.shown) < _SHOWN:
            self.shown.append(f"{kind}: {text}")

    def merge(self, other: Violations) -> None:
        self.counts.update(other.counts)
        self.shown = (self.shown + other.shown)[:_SHOWN]

    def __bool__(self) -> bool:
        return bool(self.counts)


class Position:
    """Where one connection stands in its room.

    Args:
        violations: Where findings go.
        name: Of the connection, for the findings.
    """

    __slots__ = ("_name", "_violations", "seq")

    def __init__(self, violations: Violations, name: str) -> None:
        self._violations = violations
        self._name = name
        self.seq = -1

    def subscribed(self, since: int | None, head: int, events: list[int] | None) -> int:
        """Take the answer to a subscription; return how many missed events it brought.

        Args:
            since: What was asked for; None for "from the head on".
            head: What the server says the room's position is.
            events: Their seqs; None for a reset.
        """
        if since is None or events is None:
            self.seq = head
            return 0
        if events != list(range(since + 1, head + 1)):
            self._violations.add("resume", f"{self._name} asked for what follows {since} up to {head} and got {_short(events)}")
        self.seq = max(since, head)
        return len(events)

    def delivered(self, first: int, last: int) -> None:
        """Take a run of events without a hole in itself."""
        if first != self.seq + 1:
            self.broken(first)
        self.seq = max(self.seq, last)

    def broken(self, seq: int) -> None:
        """Say what is wrong with a seq that is not the next one."""
        if self.seq < 0:
            self._violations.add("stray", f"{self._name} got {seq} before it was subscribed")
        elif seq > self.seq:
            self._violations.add("loss", f"{self._name} got {seq} after {self.seq}: {seq - self.seq - 1} are missing")
        else:
            self._violations.add("double or disorder", f"{self._name} got {seq} after {self.seq}")


class Acks:
    """The seqs that acks named, by room."""

    def __init__(self, violations: Violations) -> None:
        self._violations = violations
        self._seqs: dict[str, list[int]] = {}

    def add(self, room: str, seq: int) -> None:
        self._seqs.setdefault(room, []).append(seq)

    def heads(self) -> dict[str, int]:
        """Return the highest seq that was acked, by room."""
        return {room: max(seqs) for room, seqs in self._seqs.items()}

    def check_dense(self) -> None:
        """Check that each room's seqs follow each other: true where nobody else writes and every ack arrived."""
        for room, seqs in self._seqs.items():
            ordered = sorted(seqs)
            first, last = ordered[0], ordered[-1]
            if len(set(ordered)) != len(ordered):
                self._violations.add("ack twice", f"room {room}: {len(ordered) - len(set(ordered))} seqs were given to two sends")
            elif last - first + 1 != len(ordered):
                self._violations.add("ack hole", f"room {room}: {len(ordered)} acks from {first} to {last}")


def _short(events: list[int]) -> str:
    return str(events) if len(events) <= 6 else f"{events[:3]} … {events[-3:]} ({len(events)})"
