"""Which server of a Redis Cluster has which channel. Pure, no I/O.

Source: the Redis Cluster specification, <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
"""

from __future__ import annotations

import binascii
import functools
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOTS = 16384
_TAGS = 1 << 18  # numbers tried for a hash tag: even a server of one slot is found with a certainty of 1 - 10^-7


class Address(NamedTuple):
    host: str
    port: int


def slot_of(channel: str) -> int:
    """Return the slot of a channel or key: CRC16 (XMODEM) of it, or of its hash tag."""
    key = channel.encode()
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


@functools.lru_cache(maxsize=1024)
def _slot_of_tag(number: int) -> int:
    return slot_of(str(number))


class Slots:
    """The owner of every slot; None where nobody serves it."""

    def __init__(self) -> None:
        self._owners: list[Address | None] = [None] * SLOTS

    @property
    def masters(self) -> set[Address]:
        """Everybody who owns a slot."""
        return {owner for owner in self._owners if owner is not None}

    @property
    def complete(self) -> bool:
        """Whether every slot has an owner."""
        return None not in self._owners

    def owner(self, channel: str) -> Address | None:
        """Return who has a channel."""
        return self._owners[slot_of(channel)]

    def move(self, slot: int, to: Address) -> None:
        """Note that a slot has moved, as a server said."""
        self._owners[slot] = to

    def tag(self, of: Address) -> str | None:
        """Return a hash tag whose slot this server owns; None when it owns no slot."""
        if of not in self._owners:
            return None
        return next((str(number) for number in range(_TAGS) if self._owners[_slot_of_tag(number)] == of), None)


def parse(answer: Sequence[Any], asked: Address) -> Slots:
    """Read the answer to CLUSTER SLOTS.

    Args:
        answer: `[[first, last, [host, port, id, …], replica …], …]`.
        asked: Who answered: a server that does not know its own name leaves the host empty.

    Raises:
        ValueError: it is no such answer.
    """
    slots = Slots()
    try:
        for first, last, (host, port, *_), *_replicas in answer:
            name = host.decode() if host else ""
            owner = Address(name if name not in ("", "?") else asked.host, int(port))
            slots._owners[int(first) : int(last) + 1] = [owner] * (int(last) - int(first) + 1)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError("not an answer to CLUSTER SLOTS") from error
    if len(slots._owners) != SLOTS:
        raise ValueError("slots out of range")
    return slots
