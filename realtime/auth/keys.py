"""The signing keys on this node: read again and again, replaced when they are old."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from realtime import tasks
from realtime.errors import Unavailable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping, Sequence

RELOAD_S = 30.0
ANNOUNCE_S = 4 * RELOAD_S
_KEY_BYTES = 32


class Key(Protocol):
    @property
    def kid(self) -> str: ...
    @property
    def secret(self) -> bytes: ...
    @property
    def active(self) -> bool: ...


class Keys(Protocol):
    """Where the nodes share their keys."""

    async def usable(self) -> Sequence[Key]: ...

    async def ensure(self, kid: str, secret: bytes) -> None: ...

    async def rotate(self, kid: str, secret: bytes, *, older_than_s: float, announce_s: float, token_ttl_s: float) -> bool: ...


class KeyRing:
    """Knows every key that a token may be signed with, and which one signs.

    Args:
        keys: Shared by all nodes.
        rotation_s: Age at which a key is replaced.
        token_ttl_s: Life of an access token, with the grace of open connections.
        loops: Run what runs in the background.
    """

    def __init__(self, keys: Keys, rotation_s: float, token_ttl_s: float, loops: tasks.Loops) -> None:
        self._loops = loops
        self._task: asyncio.Task[None] | None = None
        self._keys = keys
        self._rotation_s = rotation_s
        self._token_ttl_s = token_ttl_s
        self._secrets: dict[str, bytes] = {}
        self._signing: tuple[str, bytes] | None = None

    @property
    def secrets(self) -> Mapping[str, bytes]:
        """The keys by id."""
        return self._secrets

    @property
    def signing(self) -> tuple[str, bytes]:
        """The id and the secret of the key to sign with.

        Raises:
            Unavailable: no key has been read.
        """
        if self._signing is None:
            raise Unavailable
        return self._signing

    async def open(self) -> None:
        """Make the first key if there is none, read all, and keep reading. Raises Unavailable."""
        await self._keys.ensure(*new_key())
        await self.reload()
        self._task = self._loops.start("auth.signing_keys", self._keep, every_s=RELOAD_S)

    async def close(self) -> None:
        await tasks.end([self._task])

    async def reload(self) -> None:
        """Read the keys. Raises Unavailable; what was known stays."""
        keys = await self._keys.usable()
        self._secrets = {key.kid: key.secret for key in keys}
        active = [key for key in keys if key.active]
        self._signing = (active[-1].kid, active[-1].secret) if active else None

    async def rotate(self, *, now: bool = False) -> bool:
        """Add a key when the newest one is old, or at once; it signs after `ANNOUNCE_S`. Tells whether one was added."""
        older_than_s = float("-inf") if now else self._rotation_s
        added = await self._keys.rotate(
            *new_key(), older_than_s=older_than_s, announce_s=ANNOUNCE_S, token_ttl_s=self._token_ttl_s
        )
        if added:
            await self.reload()
        return added

    async def _keep(self) -> None:
        await self.reload()
        await self.rotate()


def new_key() -> tuple[str, bytes]:
    """Make a signing key: its id and its secret."""
    return os.urandom(8).hex(), os.urandom(_KEY_BYTES)
