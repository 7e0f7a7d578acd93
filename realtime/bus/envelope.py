"""What travels between nodes: who sends, what it is, and bytes as they are; sealed, so that only nodes can make it. Pure.

Layout, big-endian: version (1 byte), key (8), seal (16), sender (8), kind (1), number (8), then for each frame its length
(4) and its bytes. The seal is BLAKE2b (RFC 7693) under a key that all nodes share, over everything else and the channel:
whoever can write to Redis, and is no node, can repeat what was sent and make nothing new.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = 1
_VERSIONS = 31  # what a newer release may put there; letters and the like are no version
SENDER_BYTES = 8
MAX_BYTES = 4 << 20
"""Of one envelope. Senders split at a quarter of it, so that no version refuses what another one sends."""
SPLIT_BYTES = MAX_BYTES // 4
_KEY_BYTES = 8
_SEAL_BYTES = 16
_OUTER = struct.Struct(f"!B{_KEY_BYTES}s{_SEAL_BYTES}s")
_INNER = struct.Struct(f"!{SENDER_BYTES}sBQ")
_LENGTH = struct.Struct("!I")


class Kind(enum.IntEnum):
    EVENTS = 1
    SIGNAL = 2
    CONTROL = 3
    PROBE = 4
    HEARTBEAT = 5
    EXTENSION = 6
    """On a channel of its own: nodes of the release before do not subscribe to it."""
    KEPT = 7
    """In Redis, under a key, and on no channel."""


class Refusal(enum.StrEnum):
    """Why an envelope was not taken."""

    VERSION = "version"  # of a release that writes them otherwise
    SIZE = "size"
    FORM = "form"
    KIND = "kind"  # sealed by a node, and of a kind that only newer nodes know
    KEY = "key"  # unknown here
    SEAL = "seal"
    CONTENT = "content"  # sealed by a node, and yet not what it should be


class Refused(ValueError):
    """It is no envelope of ours."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Envelope(NamedTuple):
    """`number` is the seq of the first event, of a probe, or what a heartbeat says (`heartbeats.Heartbeat`)."""

    sender: bytes
    kind: Kind
    number: int
    frames: list[bytes]


class Keys(Protocol):
    """Secrets that all nodes share, by their ids, and the one to seal with. Raises RealtimeError when there is none."""

    @property
    def secrets(self) -> Mapping[str, bytes]: ...

    @property
    def signing(self) -> tuple[str, bytes]: ...


class EnvelopeMac:
    """Packs and unpacks envelopes.

    The keys are derived from the secrets, so that neither can be used in place of the other.

    Args:
        keys: Read at each use, since they rotate.
        sender: 8 bytes that no other node has.
    """

    def __init__(self, keys: Keys, sender: bytes) -> None:
        self._keys = keys
        self._sender = sender
        self._derived: dict[bytes, hashlib.blake2b] = {}
        self._sealing: tuple[str, bytes, hashlib.blake2b] | None = None

    def pack(self, channel: str, kind: Kind, frames: Sequence[bytes], number: int = 0) -> bytes:
        """Encode and seal for one channel."""
        kid, secret = self._keys.signing
        if self._sealing is None or self._sealing[0] != kid:
            self._sealing = (kid, _key_id(kid), _derive(secret))
        _, key, state = self._sealing
        parts = [_INNER.pack(self._sender, kind, number)]
        for frame in frames:
            parts += (_LENGTH.pack(len(frame)), frame)
        inner = b"".join(parts)
        return _OUTER.pack(VERSION, key, _seal(state, key, channel, inner)) + inner

    @property
    def key(self) -> str:
        """The id of the secret that seals now."""
        return self._keys.signing[0]

    def seal(self, name: str, data: bytes) -> bytes:
        """Seal something that is kept under a name."""
        return self.pack(name, Kind.KEPT, [data])

    def unseal(self, name: str, data: bytes) -> bytes:
        """Return what was kept under a name. Raises Refused: no node sealed it, or under another name."""
        found = self.unpack(name, data)
        if found.kind is not Kind.KEPT or len(found.frames) != 1:
            raise Refused(Refusal.FORM)
        return found.frames[0]

    def unpack(self, channel: str, data: bytes) -> Envelope:
        """Decode what came over a channel.

        Raises:
            Refused: it is not sealed by a node of ours, for this channel, in this version.
        """
        if len(data) > MAX_BYTES:
            raise Refused(Refusal.SIZE)
        if len(data) < _OUTER.size + _INNER.size:
            raise Refused(Refusal.FORM)
        if data[:1] != bytes([VERSION]):
            raise Refused(Refusal.VERSION if VERSION < data[0] <= _VERSIONS else Refusal.FORM)
        _, key, seal = _OUTER.unpack_from(data)
        inner = data[_OUTER.size :]
        state = self._derived.get(key) or self._find(key)
        if not hmac.compare_digest(seal, _seal(state, key, channel, inner)):
            raise Refused(Refusal.SEAL)
        return _open(inner)

    def _find(self, key: bytes) -> hashlib.blake2b:
        # Keys that rotated away go with this too: what is unknown is looked up among those that are in use now.
        self._derived = {_key_id(kid): _derive(secret) for kid, secret in self._keys.secrets.items()}
        state = self._derived.get(key)
        if state is None:
            raise Refused(Refusal.KEY)
        return state


def _open(inner: bytes) -> Envelope:
    try:
        sender, kind, number = _INNER.unpack_from(inner)
        frames = []
        at = _INNER.size
        while at < len(inner):
            [size] = _LENGTH.unpack_from(inner, at)
            at += _LENGTH.size
            frame = inner[at : at + size]
            if len(frame) != size:
                raise ValueError("a frame is cut off")
            frames.append(frame)
            at += size
    except (struct.error, ValueError) as error:
        raise Refused(Refusal.FORM) from error
    try:
        return Envelope(sender, Kind(kind), number, frames)
    except ValueError as error:
        raise Refused(Refusal.KIND) from error


def _key_id(kid: str) -> bytes:
    return hashlib.blake2b(kid.encode(), digest_size=_KEY_BYTES).digest()


def _derive(secret: bytes) -> hashlib.blake2b:
    key = hashlib.blake2b(b"realtime bus", key=secret[:64], digest_size=32).digest()
    return hashlib.blake2b(key=key, digest_size=_SEAL_BYTES)


def _seal(state: hashlib.blake2b, key: bytes, channel: str, inner: bytes) -> bytes:
    name = channel.encode()
    # Copying a keyed state saves its first block: 1.4 µs instead of 2.7 for 1,000 bytes.
    hasher = state.copy()
    hasher.update(_OUTER.pack(VERSION, key, b"") + _LENGTH.pack(len(name)) + name)
    hasher.update(inner)
    return hasher.digest()
