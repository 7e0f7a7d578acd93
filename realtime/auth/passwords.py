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
from typing import TYPE_CHECKING, Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from realtime.auth import strength
from realtime.auth.fair_queue import FairQueue
from realtime.errors import InvalidCredentials, Overloaded
from realtime.text import opaque_string

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
_CHECK_S = 0.12
"""What one check takes at worst on slow machines; for telling how long to wait."""
_NICE = 10
"""The threads yield to the event loop: measured with 500 sign-ins at once on 2 cores, docs/decisions/005-accounts.md."""


@dataclass(frozen=True, slots=True)
class Verified:
    """The password is right. `new_hash`: what to store instead, where the parameters have changed since."""

    new_hash: str | None


class _Job:
    """Work that waits for a thread, and whom it is for."""

    __slots__ = ("answer", "who", "work")

    def __init__(self, who: str, work: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self.who = who
        self.work = work
        self.answer = answer


class Passwords:
    """Hashes and verifies. Who waits for a thread takes turns by address, and no address keeps others out of the queue.

    Args:
        threads: Checks at once.
        queue: Checks that may wait for a thread.
        hasher: The parameters; by default those of RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes).
    """

    def __init__(self, threads: int, queue: int, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = threads
        self._at_most = threads + queue
        self._running = 0
        self._closed = False
        self._queue = FairQueue[_Job](queue)
        self._executor = ThreadPoolExecutor(threads, "password", initializer=_be_nice)
        # What unknown users are checked against, so that they take the same time as known ones.
        self._nobody = self._hasher.hash(os.urandom(16).hex())

    @property
    def waiting(self) -> int:
        """Passwords that are being checked, or wait for it."""
        return self._running + len(self._queue)

    def close(self) -> None:
        """Let go of the threads; what waits is cancelled."""
        self._closed = True
        while (job := self._queue.pop()) is not None:
            job.answer.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str, who: str) -> str:
        """Return the PHC string of a password that the server made.

        Args:
            who: Whose turn it takes: the `address_key` of who asks.

        Raises:
            Overloaded: too many are waiting.
        """
        return await self._run(who, lambda: self._hasher.hash(password))

    async def choose(self, password: str, who: str, *, about: Sequence[str], one_time: str | None = None) -> str:
        """Return the PHC string of a password that somebody chose, prepared after RFC 8265.

        Args:
            who: As in `hash`.
            about: What others know or guess of them: their names.
            one_time: The password that works once, in place of which this one comes.

        Raises:
            PasswordTooWeak: it is short, common, easily guessed, or the one that works once.
            Overloaded: too many are waiting.
        """

        def work() -> str:
            prepared = strength.require(password, about, one_time)
            return self._hasher.hash(prepared)

        return await self._run(who, work)

    async def verify(self, password_hash: str | None, password: str, who: str) -> Verified:
        """Check a password.

        It is checked as RFC 8265 prepares it, and then, where that is another text, as it came: hashes of releases before
        were made so. Such a hash is replaced.

        Args:
            password_hash: None when there is no such user; it takes the same time and gives the same answer.
            who: As in `hash`.

        Raises:
            InvalidCredentials: it is another one.
            Overloaded: too many are waiting.
        """
        return await self._run(who, lambda: self._verify(password_hash, password))

    def _verify(self, password_hash: str | None, password: str) -> Verified:
        against = password_hash if password_hash is not None else self._nobody
        prepared = opaque_string(password)
        right = self._is(against, prepared)
        old_form = not right and prepared != password and self._is(against, password)
        if password_hash is None or not (right or old_form):
            raise InvalidCredentials
        renew = old_form or self._hasher.check_needs_rehash(against)
        return Verified(self._hasher.hash(prepared) if renew else None)

    def _is(self, against: str, password: str) -> bool:
        try:
            return self._hasher.verify(against, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, who: str, work: Callable[[], T]) -> T:
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        job = _Job(who, work, answer)
        gone: _Job | None = None
        if self._running < self._threads:
            self._start(job)
        else:
            gone = self._queue.push(who, job)
        if gone is not None and not gone.answer.done():
            gone.answer.set_exception(self._overloaded())
        try:
            return await answer
        except asyncio.CancelledError:
            self._queue.remove(who, job)
            raise

    def _start(self, job: _Job) -> None:
        self._running += 1
        doing = asyncio.get_running_loop().run_in_executor(self._executor, job.work)
        doing.add_done_callback(lambda done: self._done(job, done))

    def _done(self, job: _Job, done: asyncio.Future[Any]) -> None:
        self._running -= 1
        if not self._closed and (following := self._queue.pop()) is not None:
            self._start(following)
        error = None if done.cancelled() else done.exception()  # asked for in any case, or asyncio reports it as lost
        if job.answer.done():
            return  # nobody waits for it any more
        if done.cancelled():
            job.answer.cancel()
        elif error is not None:
            job.answer.set_exception(error)
        else:
            job.answer.set_result(done.result())

    def _overloaded(self) -> Overloaded:
        return Overloaded(
            "Too many people are signing in at this moment; try again shortly.",
            retry_after_ms=int(1000 * _CHECK_S * self._at_most / self._threads),
        )


def _be_nice() -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # some sandboxes forbid it; then the lag is a little higher
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # on Linux a thread has its own
