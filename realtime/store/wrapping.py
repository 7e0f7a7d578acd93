"""Secrets as the database holds them: encrypted under a master key that the database never sees. Pure, but for the nonces.

A value is `v1.<key id>.<nonce>.<ciphertext>`: AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits, the parts in
base64url (RFC 4648 §5) without padding. Its table, column and row id are authenticated with it, so that a value that was moved
to another row cannot be read there. Random nonces are safe for 2^32 values under one master key (§8.3).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "v1"
KEY_BYTES = 32
NONCE_BYTES = 12
_ID_BYTES = 6


class Place(NamedTuple):
    """Where a value is kept."""

    table: str
    column: str
    row: str

    def __str__(self) -> str:
        return f"{self.table}.{self.column} of {self.row!r}"


class Unreadable(Exception):
    """A wrapped secret cannot be read; the text is a sentence for the operator and holds no secret."""


class UnknownMasterKey(Unreadable):
    """It was wrapped under a master key that is not here."""


class MasterKey:
    """One key. Its id is a hash of it: nodes that hold the same key call it the same.

    Args:
        secret: `KEY_BYTES` random bytes.
    """

    __slots__ = ("_cipher", "id")

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise ValueError(f"a master key has {KEY_BYTES} bytes")
        self.id = _text(hashlib.blake2b(secret, digest_size=_ID_BYTES, person=b"master key id").digest())
        self._cipher = AESGCM(secret)

    def __repr__(self) -> str:
        return f"MasterKey({self.id})"  # never the secret

    def encrypt(self, secret: bytes, place: Place) -> str:
        """Wrap a secret for one place. Each call takes a nonce of its own."""
        nonce = os.urandom(NONCE_BYTES)  # no argument: a caller that chose it could repeat it, which gives both secrets away
        return ".".join((VERSION, self.id, _text(nonce), _text(self._cipher.encrypt(nonce, secret, _bound(self.id, place)))))

    def decrypt(self, nonce: bytes, ciphertext: bytes, place: Place) -> bytes:
        """Raises InvalidTag."""
        return self._cipher.decrypt(nonce, ciphertext, _bound(self.id, place))


class MasterKeys:
    """The first one wraps, all of them unwrap.

    Args:
        keys: At least one.
    """

    __slots__ = ("_by_id", "_first")

    def __init__(self, keys: Sequence[MasterKey]) -> None:
        self._first = keys[0]
        self._by_id = {key.id: key for key in keys}

    def __repr__(self) -> str:
        return f"MasterKeys({', '.join(self.ids)})"

    @property
    def ids(self) -> list[str]:
        """The ids, the first one's first."""
        return list(self._by_id)

    def wrap(self, secret: bytes, place: Place) -> str:
        """Encrypt a secret for one place."""
        return self._first.encrypt(secret, place)

    def unwrap(self, value: str, place: Place) -> bytes:
        """Decrypt what `wrap` returned.

        Raises:
            UnknownMasterKey: it was wrapped under another key.
            Unreadable: it is of another version, was changed, or belongs to another place.
        """
        version, *parts = value.split(".")
        if version != VERSION:
            raise Unreadable(f"{place} cannot be read: it was encrypted by a newer release.")
        try:
            key_id, nonce, ciphertext = parts
            key = self._by_id.get(key_id)
            if key is None:
                raise unknown(key_id, place)
            return key.decrypt(_bytes(nonce), _bytes(ciphertext), place)
        except (ValueError, InvalidTag):
            # Without its cause: some of these quote what they could not read.
            raise Unreadable(f"{place} cannot be read: it was changed, or copied from another row.") from None


def unknown(key_id: str, place: Place) -> UnknownMasterKey:
    """Return the refusal of a value that was wrapped under a master key that is not here."""
    return UnknownMasterKey(
        f"{place} is encrypted with the master key {shown(key_id)}, which is not here. Add that key to the master key file "
        "(ROOMWIRE_MASTER_KEY_FILE), or give up what it encrypts: `roomwire keys reset`."
    )


def wrapped_under(value: str) -> str:
    """Return which master key a value says it is wrapped under; empty: it says nothing."""
    return value.split(".")[1] if value.startswith(f"{VERSION}.") else ""


def shown(key_id: str) -> str:
    """Return a key id to show, whatever the database holds in its place."""
    return key_id if key_id.replace("-", "").replace("_", "").isalnum() and len(key_id) <= 16 else "(unknown)"


def _bound(key_id: str, place: Place) -> bytes:
    if any("\0" in part for part in place):
        raise ValueError("a place holds no NUL")  # it divides them: PostgreSQL has none in names and texts
    return "\0".join((VERSION, key_id, *place)).encode()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(raw) != text:
        raise binascii.Error  # the bits behind the end: one value has one form
    return raw
