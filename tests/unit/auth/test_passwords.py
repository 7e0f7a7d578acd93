"""Passwords alone: right and wrong ones, unknown users, old parameters, and how many may be checked or wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest
from argon2 import PasswordHasher

from realtime.auth.passwords import Passwords, Verified
from realtime.errors import InvalidCredentials, Overloaded, PasswordTooWeak

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Counting(PasswordHasher):
    """Costs next to nothing, remembers against what it verified, and waits when the test says so."""

    def __init__(self, time_cost: int = 1) -> None:
        super().__init__(time_cost=time_cost, memory_cost=8, parallelism=1)
        self.against: list[str | bytes] = []
        self.running = 0
        self.most = 0
        self.open = threading.Event()
        self.open.set()
        self._lock = threading.Lock()

    def _work(self) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.open.wait(10)
        with self._lock:
            self.running -= 1

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self._work()
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self._work()
        self.against.append(hash)
        return super().verify(hash, password)


@asynccontextmanager
async def passwords(hasher: PasswordHasher | None = None, threads: int = 2, queue: int = 3) -> AsyncIterator[Passwords]:
    made = Passwords(threads, queue, hasher or Counting())
    try:
        yield made
    finally:
        made.close()


async def test_a_password_is_known_again_and_another_one_is_not() -> None:
    async with passwords() as one:
        stored = await one.hash("correct horse", HERE)
        assert await one.verify(stored, "correct horse", HERE) == Verified(None)
        for wrong in ("Correct horse", "correct horse ", "", "correct\0horse"):
            with pytest.raises(InvalidCredentials):
                await one.verify(stored, wrong, HERE)


async def test_a_hash_is_an_argon2id_string_with_a_salt_of_its_own() -> None:
    async with passwords() as one:
        first, second = await one.hash("same", HERE), await one.hash("same", HERE)
        assert first.startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert first != second
        assert "same" not in first


async def test_without_a_hasher_the_parameters_are_those_of_the_rfc() -> None:
    defaults = PasswordHasher()
    assert (defaults.memory_cost, defaults.time_cost, defaults.parallelism) == (65536, 3, 4)


async def test_an_unknown_user_costs_a_verification_and_gives_the_same_answer() -> None:
    hasher = Counting()
    async with passwords(hasher) as one:
        with pytest.raises(InvalidCredentials) as unknown:
            await one.verify(None, "guess", HERE)
        with pytest.raises(InvalidCredentials) as wrong:
            await one.verify(await one.hash("right", HERE), "guess", HERE)
        assert len(hasher.against) == 2
        assert str(hasher.against[0]).startswith("$argon2id$v=19$m=8,t=1,p=1$")
        assert str(unknown.value) == str(wrong.value)


async def test_nobody_signs_in_as_an_unknown_user_even_with_the_password_that_matches() -> None:
    class Agreeing(Counting):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            return True

    async with passwords(Agreeing()) as one:
        with pytest.raises(InvalidCredentials):
            await one.verify(None, "anything", HERE)


async def test_a_hash_with_old_parameters_is_replaced_when_the_password_is_right() -> None:
    async with passwords(Counting(time_cost=1)) as old:
        stored = await old.hash("right", HERE)
    async with passwords(Counting(time_cost=2)) as new:
        replaced = (await new.verify(stored, "right", HERE)).new_hash
        assert replaced is not None
        assert replaced.startswith("$argon2id$v=19$m=8,t=2,p=1$")
        assert await new.verify(replaced, "right", HERE) == Verified(None)
        with pytest.raises(InvalidCredentials):
            await new.verify(stored, "wrong", HERE)


@pytest.mark.parametrize("stored", ["", "nonsense", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=8,t=1,p=1$short"])
async def test_a_stored_hash_that_is_none_lets_nobody_in(stored: str) -> None:
    async with passwords() as one:
        with pytest.raises(InvalidCredentials):
            await one.verify(stored, "anything", HERE)


# -- bounds -----------------------------------------------------------------------------------------


async def test_as_many_as_threads_and_queue_hold_are_taken_and_the_next_is_refused_before_it_costs_anything() -> None:
    hasher = Counting()
    async with passwords(hasher, threads=2, queue=3) as one:
        stored = await one.hash("right", HERE)
        hasher.open.clear()
        taken = [asyncio.ensure_future(one.verify(stored, "right", HERE)) for _ in range(5)]
        await asyncio.sleep(0)
        for attempt in (one.verify(stored, "right", HERE), one.verify(None, "guess", HERE), one.hash("new", HERE)):
            with pytest.raises(Overloaded) as refused:
                await attempt
            assert refused.value.retryable
            assert refused.value.retry_after_ms == 300  # five checks of 120 ms on two threads
        hasher.open.set()
        assert await asyncio.gather(*taken) == [Verified(None)] * 5
        assert hasher.most <= 2
        assert len(hasher.against) == 5
        assert await one.verify(stored, "right", HERE) == Verified(None)


async def test_one_address_that_fills_the_queue_keeps_nobody_out() -> None:
    hasher = Counting()
    async with passwords(hasher, threads=1, queue=4) as one:
        stored = await one.hash("right", HERE)
        hasher.open.clear()
        flood = [asyncio.ensure_future(one.verify(None, "guess", HERE)) for _ in range(5)]
        await asyncio.sleep(0)
        victims = [asyncio.ensure_future(one.verify(stored, "right", f"192.0.2.{number}")) for number in range(10, 13)]
        await asyncio.sleep(0)
        assert one.waiting == 5
        hasher.open.set()
        assert await asyncio.gather(*victims) == [Verified(None)] * 3
        refused = await asyncio.gather(*flood, return_exceptions=True)
        assert [type(error) for error in refused] == [InvalidCredentials] * 2 + [Overloaded] * 3


async def test_who_waits_takes_turns_by_address() -> None:
    order: list[str] = []

    class Noting(Counting):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            order.append(str(password))
            return super().verify(hash, password)

    hasher = Noting()
    async with passwords(hasher, threads=1, queue=8) as one:
        hasher.open.clear()
        checks = [asyncio.ensure_future(one.verify(None, f"flood {number}", HERE)) for number in range(5)]
        await asyncio.sleep(0)
        checks.append(asyncio.ensure_future(one.verify(None, "victim", THERE)))
        await asyncio.sleep(0)
        hasher.open.set()
        await asyncio.gather(*checks, return_exceptions=True)
    assert order.index("victim") == 2  # behind the one that ran and the first that waited


async def test_a_check_that_nobody_waits_for_any_more_gives_its_place_back() -> None:
    hasher = Counting()
    async with passwords(hasher, threads=1, queue=2) as one:
        hasher.open.clear()
        running, waiting = (asyncio.ensure_future(one.verify(None, "guess", HERE)) for _ in range(2))
        await asyncio.sleep(0)
        for check in (running, waiting):
            check.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        assert one.waiting == 1  # the thread cannot be stopped
        hasher.open.set()
        with pytest.raises(InvalidCredentials):
            await one.verify(None, "guess", HERE)
        assert len(hasher.against) == 2


# -- forms ------------------------------------------------------------------------------------------

COMPOSED, DECOMPOSED = "K\u00e4sesp\u00e4tzle", "Ka\u0308sespa\u0308tzle"


async def test_a_password_is_the_same_composed_and_decomposed_and_with_any_blank() -> None:
    async with passwords() as one:
        for chosen, typed in (
            (COMPOSED, DECOMPOSED),
            (DECOMPOSED, COMPOSED),
            ("vier Z\u00fcge fahren", "vier\u00a0Z\u00fcge\u3000fahren"),
        ):
            stored = await one.choose(chosen, HERE, about=())
            assert await one.verify(stored, typed, HERE) == Verified(None)
            assert await one.verify(stored, chosen, HERE) == Verified(None)


async def test_a_hash_of_a_release_before_is_taken_as_it_was_typed_and_replaced() -> None:
    async with passwords() as one:
        stored = await one.hash(DECOMPOSED, HERE)
        replaced = (await one.verify(stored, DECOMPOSED, HERE)).new_hash
        assert replaced is not None
        assert await one.verify(replaced, COMPOSED, HERE) == Verified(None)


async def test_a_second_check_is_made_only_where_the_forms_differ_and_for_unknown_users_too() -> None:
    hasher = Counting()
    async with passwords(hasher) as one:
        for stored in (None, await one.hash("right", HERE)):
            for typed, checks in ((COMPOSED, 1), (DECOMPOSED, 2), ("ascii", 1)):
                hasher.against.clear()
                with pytest.raises(InvalidCredentials):
                    await one.verify(stored, typed, HERE)
                assert len(hasher.against) == checks


async def test_a_weak_password_is_refused_before_it_is_hashed() -> None:
    hasher = Counting()
    async with passwords(hasher) as one:
        hasher.most = 0
        with pytest.raises(PasswordTooWeak):
            await one.choose("password", HERE, about=())
        assert hasher.most == 0


async def test_a_check_that_fails_gives_its_place_back() -> None:
    async with passwords(threads=1, queue=1) as one:
        for _ in range(5):
            with pytest.raises(InvalidCredentials):
                await one.verify(None, "guess", HERE)


async def test_the_loop_goes_on_while_a_password_is_checked() -> None:
    hasher = Counting()
    async with passwords(hasher) as one:
        stored = await one.hash("right", HERE)
        hasher.open.clear()
        checking = asyncio.ensure_future(one.verify(stored, "right", HERE))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not checking.done()
        hasher.open.set()
        assert await checking == Verified(None)


async def test_closing_cancels_what_waits_and_does_not_wait_for_what_runs() -> None:
    hasher = Counting()
    async with passwords(hasher, threads=1, queue=3) as one:
        stored = await one.hash("right", HERE)
        hasher.open.clear()
        checks = [asyncio.ensure_future(one.verify(stored, "right", HERE)) for _ in range(3)]
        while not hasher.running:
            await asyncio.sleep(0.001)
        one.close()
        hasher.open.set()
        first, *waiting = await asyncio.gather(*checks, return_exceptions=True)
        assert first == Verified(None)
        assert [type(one_of) for one_of in waiting] == [asyncio.CancelledError] * 2
