"""Where a client or a device stands in everything: a snapshot of PostgreSQL, as text that only this server reads (pure).

What was visible to the snapshot was answered then; what was not is new. A global number would not do: numbers become visible
out of the order in which transactions commit. A cursor holds no state on the server, is good on every node, and never
expires; one of another epoch is of a history that a restore replaced.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from typing import NamedTuple

import msgspec

from realtime.errors import CursorReset, InvalidRequest
from realtime.model import is_uuid

VERSION = 1
MAX_CHARS = 4096
"""Of a cursor: it fits into a URL. Some 250 transactions that were open at once; see `fitting`."""
_MAX_XID = 2**63 - 1
_XID_CHARS = 19
_SNAPSHOT = re.compile(r"([0-9]{1,19}):([0-9]{1,19}):((?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)")
_TEXT = re.compile(r"[A-Za-z0-9_-]+")
_SNAPSHOT_CHARS = MAX_CHARS * 3 // 4 - 64
"""What is left for the snapshot beside version, epoch and punctuation."""


class Cursor(NamedTuple):
    """One place in everything.

    Args:
        epoch: Of the database.
        snapshot: As `pg_current_snapshot()` returns it: `xmin:xmax:xip,…`.
    """

    epoch: str
    snapshot: str

    def encode(self) -> str:
        """Return it as clients get it: base64url, at most `MAX_CHARS`."""
        packed = msgspec.json.encode((VERSION, self.epoch, fitting(self.snapshot, _SNAPSHOT_CHARS)))
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(text: str) -> Cursor:
    """Read a cursor that a client brings; what it holds may be cast without a further look.

    Raises:
        InvalidRequest: it is none that this server gave out.
        CursorReset: its version is not known here.
    """
    if len(text) > MAX_CHARS or _TEXT.fullmatch(text) is None:
        raise InvalidRequest("This is no cursor of this server.")
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, msgspec.DecodeError, RecursionError):
        raise InvalidRequest("This is no cursor of this server.") from None
    match found:
        case [int(version), *_] if version != VERSION:
            raise CursorReset
        case [int(), str(epoch), str(snapshot)] if is_uuid(epoch) and is_snapshot(snapshot):
            return Cursor(epoch, snapshot)
    raise InvalidRequest("This is no cursor of this server.")


def is_snapshot(text: str) -> bool:
    """Tell whether PostgreSQL would take this text as a snapshot: `1 ≤ xmin ≤ xmax`, and open ones ascending between them."""
    match = _SNAPSHOT.fullmatch(text)
    if match is None:
        return False
    low, high = int(match[1]), int(match[2])
    open_ones = [int(one) for one in match[3].split(",")] if match[3] else []
    bounds = [low - 1, *open_ones, high]
    return 1 <= low <= high <= _MAX_XID and all(before < after for before, after in itertools.pairwise(bounds))


def fitting(snapshot: str, at_most_chars: int) -> str:
    """Return a snapshot that is no longer than this. What it sees the given one sees too: some is new twice, and nothing lost."""
    if len(snapshot) <= at_most_chars:
        return snapshot
    low, high, open_ones = snapshot.split(":")
    kept, length = [], len(low) + 2 + _XID_CHARS
    for one in open_ones.split(","):
        length += len(one) + 1
        if length > at_most_chars:
            high = one  # this one, and all that came after it, count as not seen
            break
        kept.append(one)
    return f"{low}:{high}:{','.join(kept)}"
