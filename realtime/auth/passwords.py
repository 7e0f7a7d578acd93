"""Passwords, by argon2id (RFC 9106) in bounded threads behind a bounded queue.

One check costs 46–120 ms of a core and 64 MiB, on purpose; so at most `threads` run, a few wait, and the rest is refused
at once, before it has cost anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from realtime.errors import InvalidCredentials, Overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_CHECK_S = 0.12
"""What one check takes at worst on slow machines; for telling how long to wait."""
_NICE = 10
"""The threads yield to the event loop: measured with 500 sign-ins at once on 2 cores, docs/decisions/005-accounts.md."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The password is right. `new_hash`: what to store instead, where the parameters have changed since."""

    new_hash: str | None


class Passwords:
    """Hashes and verifies.

    Args:
        threads: Checks at once.
        queue: Checks that may wait for a thread.
        hasher: The parameters; by default those of RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes).
    """

    def __init__(self, threads: int, queue: int, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = threads
        self._at_most = threads + queue
        self._taken = 0
        self._executor = ThreadPoolExecutor(threads, "password", initializer=_be_nice)
        # What unknown users are checked against, so that they take the same time as known ones.
        self._nobody = self._hasher.hash(os.urandom(16).hex())

    @property
    def waiting(self) -> int:
        """Passwords that are being checked, or wait for it."""
        return self._taken

    def close(self) -> None:
        """Let go of the threads; what waits is cancelled."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Return the PHC string of a password.

        Raises:
            Overloaded: too many are waiting.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> Verified:
        """Check a password.

        Args:
            password_hash: None when there is no such user; it takes the same time and gives the same answer.

        Raises:
            InvalidCredentials: it is another one.
            Overloaded: too many are waiting.
        """
        return await self._run(lambda: self._verify(password_hash, password))

    def _verify(self, password_hash: str | None, password: str) -> Verified:
        known = password_hash is not None
        against = password_hash if password_hash is not None else self._nobody
        try:
            self._hasher.verify(against, password)
        except (VerificationError, InvalidHashError) as error:
            raise InvalidCredentials from error
        if not known:
            raise InvalidCredentials
        return Verified(self._hasher.hash(password) if self._hasher.check_needs_rehash(against) else None)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._taken >= self._at_most:
            raise Overloaded(
                "Too many people are signing in at this moment; try again shortly.",
                retry_after_ms=int(1000 * _CHECK_S * self._at_most / self._threads),
            )
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._taken -= 1


def _be_nice() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # some sandboxes forbid it; then the lag is a little higher
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # on Linux a thread has its own
