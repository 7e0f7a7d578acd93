"""What a refresh token that is shown means. Pure: randomness and ages are arguments.

A refresh token's secret is random bytes and a tag over them under a key of its session (its *family*). So a token that was valid
once is known for ever without a list of all of them, and a stranger who knows the id of a session can end nothing.

The one who replaces a token stores its successor under a pad that only the token itself gives (it is random and long, and only
its SHA-256 is stored). So who shows the same token at the same moment, on whichever node, gets the same successor.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.auth.tokens import SECRET_BYTES, RefreshToken

if TYPE_CHECKING:
    from realtime.auth.sessions import Rotation
    from realtime.model import SessionId

GRACE_S = 10.0
"""For so long a token that was replaced gets the same successor: two tabs, or an answer that got lost and a quick retry."""
FAMILY_BYTES = 32
RANDOM_BYTES = 20
_TAG_BYTES = SECRET_BYTES - RANDOM_BYTES


class Meaning(enum.Enum):
    """CURRENT: replace it. REPEATED: answer its successor again. REUSED: two parties hold it. UNKNOWN: it never was one."""

    CURRENT = enum.auto()
    REPEATED = enum.auto()
    REUSED = enum.auto()
    UNKNOWN = enum.auto()


@dataclass(frozen=True, slots=True)
class Judged:
    """`successor`: of a token that is REPEATED."""

    meaning: Meaning
    successor: RefreshToken | None = None


def make(session: SessionId, family: bytes, random: bytes) -> RefreshToken:
    """Make a refresh token.

    Args:
        family: Of the session, `FAMILY_BYTES`.
        random: `RANDOM_BYTES`.
    """
    return RefreshToken(session, random + _tag(session, family, random))


def seal(successor: RefreshToken, presented: RefreshToken) -> bytes:
    """Hide a token from all but who holds the one before."""
    return _padded(successor.secret, presented)


def judge(stored: Rotation | None, presented: RefreshToken) -> Judged:
    """Tell what a token means, by what is stored of its session; None: it is over or never was.

    The token before the current one is taken as current too for as long as the current one was never used: then its answer
    was lost on the way, however long ago. A change of the password begins a new family: tokens from before it are worth nothing,
    and say nothing about who holds the new one.
    """
    if stored is None:
        return Judged(Meaning.UNKNOWN)
    if hmac.compare_digest(presented.hash, stored.refresh_hash):
        return Judged(Meaning.CURRENT)
    if stored.previous_hash is not None and hmac.compare_digest(presented.hash, stored.previous_hash):
        if stored.age_s <= GRACE_S and stored.successor is not None:
            successor = RefreshToken(presented.session, _padded(stored.successor, presented))
            if successor.hash == stored.refresh_hash:  # a node of the version before stores none
                return Judged(Meaning.REPEATED, successor)
        return Judged(Meaning.CURRENT)
    random, tag = presented.secret[:RANDOM_BYTES], presented.secret[RANDOM_BYTES:]
    if stored.family is not None and hmac.compare_digest(tag, _tag(presented.session, stored.family, random)):
        return Judged(Meaning.REUSED)
    return Judged(Meaning.UNKNOWN)


def _tag(session: SessionId, family: bytes, random: bytes) -> bytes:
    return hashlib.blake2b(session.encode() + random, key=family, digest_size=_TAG_BYTES, person=b"refresh tag").digest()


def _padded(secret: bytes, presented: RefreshToken) -> bytes:
    pad = hashlib.blake2b(presented.secret, digest_size=SECRET_BYTES, person=b"successor").digest()
    return bytes(one ^ other for one, other in zip(secret, pad, strict=True))
