"""The service of accounts over stores in memory, with a clock that the test moves: bounds, rotation, revocation."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from argon2 import PasswordHasher

from realtime import errors
from realtime.auth.accounts import PasswordChange
from realtime.auth.authenticator import Authenticator
from realtime.auth.ended import POLL_S, EndedSessions
from realtime.auth.keys import RELOAD_S, KeyRing
from realtime.auth.passwords import Passwords
from realtime.auth.service import MAX_SESSIONS, Accounts, Settings, SignedIn, Stores
from realtime.auth.sessions import Rotation
from realtime.auth.throttle import Throttle
from realtime.auth.tokens import AccessTokens, Claims, RefreshToken
from realtime.auth.users import Credentials
from realtime.model import SessionId, User, UserId
from realtime.runtime import Runtime
from realtime.tasks import Loops
from tests.unit.auth.test_keys import Store as KeyStore
from tests.unit.presence.virtual_time import now_s, run

HERE, THERE = "192.0.2.1", "192.0.2.2"
TOKEN_LIFE_S = 930
SETTINGS = Settings(login_rate_per_min=6, register_rate_per_min=3)


class Users:
    """Accounts by name."""

    def __init__(self) -> None:
        self.rows: dict[str, Credentials] = {}
        self.rehashed: list[tuple[UserId, str, str]] = []
        self.lookups = 0

    async def is_taken(self, username: str) -> bool:
        return username.lower() in self.rows

    async def insert(self, user: User, password_hash: str) -> bool:
        return self.rows.setdefault(user.username.lower(), Credentials(user, password_hash)).user is user

    async def credentials(self, username: str) -> Credentials | None:
        self.lookups += 1
        return self.rows.get(username.lower())

    async def credentials_of(self, user: UserId) -> Credentials | None:
        return next((row for row in self.rows.values() if row.user.id == user), None)

    async def set_password_hash(self, user: UserId, old: str, new: str) -> None:
        self.rehashed.append((user, old, new))


class Sessions:
    """Sign-ins with the hash of their current refresh token."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self.rows: dict[SessionId, tuple[UserId, bytes]] = {}
        self.rotations: dict[SessionId, Rotation] = {}
        self.ended: list[tuple[SessionId, str]] = []
        self.asked_s: list[float] = []
        self.agents: list[str] = []
        self.away = False

    async def insert(
        self, session: SessionId, account: Credentials, refresh_hash: bytes, family: bytes, ttl_s: float, agent: str, others: int
    ) -> list[SessionId] | None:
        self.agents.append(agent)
        if account.password_version != self._users.rows[account.user.username.lower()].password_version:
            return None
        self.rows[session] = account.user.id, refresh_hash
        self.rotations[session] = Rotation(refresh_hash, None, family, None, 0.0, account.user, is_admin=False)
        over = [one for one in self.rows if one != session][:-others]
        for one in over:
            await self.revoke(one, "too many")
        return over

    async def rotation(self, session: SessionId) -> Rotation | None:
        return self.rotations[session] if session in self.rows else None

    async def rotate(
        self,
        session: SessionId,
        seen: Rotation,
        presented: bytes,
        replacement: bytes,
        family: bytes,
        successor: bytes,
        ttl_s: float,
    ) -> bool:
        if session not in self.rows or self.rotations[session].refresh_hash != seen.refresh_hash:
            return False
        self.rows[session] = self.rows[session][0], replacement
        self.rotations[session] = Rotation(replacement, presented, family, successor, 0.0, seen.user, seen.is_admin)
        return True

    async def revoke_family(self, session: SessionId, family: bytes, reason: str) -> bool:
        return self.rotations[session].family == family and await self.revoke(session, reason)

    async def revoke(self, session: SessionId, reason: str) -> bool:
        self.ended.append((session, reason))
        return self.rows.pop(session, None) is not None

    async def revoke_by_token(self, session: SessionId, presented: bytes, reason: str) -> bool:
        return self.rows.get(session, (None, b""))[1] == presented and await self.revoke(session, reason)

    async def revoked_since(self, seconds: float) -> list[SessionId]:
        self.asked_s.append(seconds)
        if self.away:
            raise errors.Unavailable
        return [session for session, _ in self.ended]


class Store:
    """Changes of passwords."""

    def __init__(self, users: Users, sessions: Sessions) -> None:
        self._users = users
        self._sessions = sessions

    async def change_password(
        self, account: Credentials, password_hash: str, keep: tuple[SessionId, bytes, bytes, float] | None
    ) -> PasswordChange:
        key = account.user.username.lower()
        if self._users.rows[key].password_version != account.password_version:
            return PasswordChange(None, False, [])
        version = account.password_version + 1
        self._users.rows[key] = Credentials(account.user, password_hash, version)
        rows = self._sessions.rows
        ended = [session for session, (user, _) in rows.items() if user == account.user.id and not (keep and session == keep[0])]
        for session in ended:
            await self._sessions.revoke(session, "password changed")
        kept = keep is not None and keep[0] in rows
        if keep is not None and kept:
            rows[keep[0]] = account.user.id, keep[1]
            self._sessions.rotations[keep[0]] = Rotation(keep[1], None, keep[2], None, 0.0, account.user, is_admin=False)
        return PasswordChange(version, kept, ended)


class World:
    """Accounts with all that they stand on."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0
        self.users = Users()
        self.sessions = Sessions(self.users)
        self.told: list[SessionId] = []
        self.closed: list[SessionId] = []
        self.passwords = Passwords(1, 8, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        numbers = itertools.count(1)
        loops = Loops()
        self.keys = KeyRing(KeyStore(), 86_400.0, 930.0, loops)
        tokens = AccessTokens(Claims("issuer", "audience"), self.keys, 900)
        self.ended = EndedSessions(cast("Any", self.sessions), TOKEN_LIFE_S, self.told.append, self.closed.append, loops)
        self.accounts = Accounts(
            Stores(cast("Any", self.users), cast("Any", Store(self.users, self.sessions)), cast("Any", self.sessions)),
            self.passwords,
            tokens,
            self.ended,
            Throttle(None, lambda: self.now_s),
            SETTINGS,
            Runtime(loops, wall=lambda: self.now_s, new_id=lambda: f"019b0000-0000-7000-8000-{next(numbers):012x}"),
        )
        self.authenticator = Authenticator(tokens, self.ended, lambda: self.now_s)

    async def open(self) -> None:
        async with contextlib.AsyncExitStack() as stack:  # as a node opens its parts
            await self.keys.open()
            stack.push_async_callback(self.keys.close)
            await self.accounts.open()
            stack.pop_all()

    async def close(self) -> None:
        await self.accounts.close()
        await self.keys.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.keys.open()
    yield world
    await world.keys.close()


async def register(world: World, username: str = "Ada", address: str = HERE) -> SignedIn:
    return await world.accounts.register(username, "correct horse", None, address)


# -- sign-in ----------------------------------------------------------------------------------------


async def test_who_registers_is_signed_in_with_a_token_that_speaks_for_them(world: World) -> None:
    signed_in = await register(world)
    principal = world.authenticator.authenticate(signed_in.access_token)
    assert principal.user == signed_in.user == User(signed_in.user.id, "Ada", "Ada")
    assert principal.expires_at_s == world.now_s + 900
    assert signed_in.expires_in == 900
    token = RefreshToken.parse(signed_in.refresh_token)
    assert world.sessions.rows == {principal.session: (signed_in.user.id, token.hash)}
    assert token.session == principal.session


async def test_a_name_that_is_taken_is_refused_whatever_its_capitals(world: World) -> None:
    await register(world, "Ada")
    with pytest.raises(errors.UsernameTaken):
        await register(world, "ADA")


async def test_a_name_that_is_taken_costs_a_hash_as_a_free_one_does(world: World) -> None:
    await register(world)
    hashed: list[str] = []
    choose = world.passwords.choose

    async def counted(password: str, who: str, **facts: Any) -> str:
        hashed.append(password)
        return await choose(password, who, **facts)

    world.passwords.choose = counted  # type: ignore[method-assign]
    with pytest.raises(errors.UsernameTaken):
        await register(world)
    assert hashed == ["correct horse"]


async def test_every_sign_in_is_a_session_of_its_own(world: World) -> None:
    await register(world)
    first = await world.accounts.login("ada", "correct horse", HERE)
    second = await world.accounts.login("ADA", "correct horse", HERE)
    sessions = {world.authenticator.authenticate(one.access_token).session for one in (first, second)}
    assert len(sessions) == 2
    assert first.user == second.user


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(world: World) -> None:
    await register(world)
    with pytest.raises(errors.InvalidCredentials) as wrong:
        await world.accounts.login("ada", "wrong horse", HERE)
    with pytest.raises(errors.InvalidCredentials) as unknown:
        await world.accounts.login("bob", "wrong horse", HERE)
    assert str(wrong.value) == str(unknown.value)


async def test_an_old_hash_is_replaced_at_the_next_sign_in(world: World) -> None:
    await register(world)
    row = world.users.rows["ada"]
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash("correct horse")
    world.users.rows["ada"] = Credentials(row.user, old)
    await world.accounts.login("ada", "correct horse", HERE)
    [(user, replaced, new)] = world.users.rehashed
    assert (user, replaced) == (row.user.id, old)
    assert "t=1" in new


# -- bounds -----------------------------------------------------------------------------------------


async def fail_to_sign_in(world: World, times: int, username: str = "ada", address: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(errors.InvalidCredentials):
            await world.accounts.login(username, "wrong", address)


async def test_attempts_to_sign_in_are_limited_before_anything_is_looked_up_and_come_back_with_time(world: World) -> None:
    await fail_to_sign_in(world, 6)
    lookups = world.users.lookups
    with pytest.raises(errors.RateLimited) as refused:
        await world.accounts.login("ada", "wrong", HERE)
    assert refused.value.retry_after_ms == 10_001  # six a minute
    assert world.users.lookups == lookups
    world.now_s += 10.1
    await fail_to_sign_in(world, 1)
    with pytest.raises(errors.RateLimited):
        await world.accounts.login("ada", "wrong", HERE)


async def test_attempts_count_by_address_and_account_so_that_nobody_locks_somebody_else_out(world: World) -> None:
    await register(world)
    await fail_to_sign_in(world, 6)
    await fail_to_sign_in(world, 1, "bob")
    assert (await world.accounts.login("ada", "correct horse", THERE)).user.username == "Ada"


async def test_capitals_make_no_new_attempts(world: World) -> None:
    for name in ("ada", "ADA", "Ada", "aDa", "adA", "ADa"):
        await fail_to_sign_in(world, 1, name)
    with pytest.raises(errors.RateLimited):
        await world.accounts.login("AdA", "wrong", HERE)


async def test_who_gets_it_right_has_all_attempts_again(world: World) -> None:
    await register(world)
    for _ in range(3):
        await fail_to_sign_in(world, 5)
        await world.accounts.login("ada", "correct horse", HERE)
    await fail_to_sign_in(world, 6)


async def test_each_guess_more_waits_twice_as_long(world: World) -> None:
    await fail_to_sign_in(world, 6)
    for wait_s in (10, 20, 40, 80, 160, 320, 640, 900, 900):
        with pytest.raises(errors.RateLimited) as refused:
            await world.accounts.login("ada", "wrong", HERE)
        assert refused.value.retry_after_ms == pytest.approx(wait_s * 1000 + 1, abs=2)
        world.now_s += wait_s + 0.01
        await fail_to_sign_in(world, 1)
    world.now_s += 3601
    await fail_to_sign_in(world, 6)


async def test_hopping_inside_one_ipv6_network_makes_no_new_attempts(world: World) -> None:
    for number in range(6):
        await fail_to_sign_in(world, 1, address=f"2001:db8:1:1::{number:x}")
    with pytest.raises(errors.RateLimited):
        await world.accounts.login("ada", "wrong", "2001:db8:1:1:ffff::1")
    await fail_to_sign_in(world, 1, address="2001:db8:1:2::1")


async def test_guesses_over_many_accounts_are_limited_and_bind_nobody_who_is_known_there(world: World) -> None:
    await register(world)
    await world.accounts.login("ada", "correct horse", HERE)
    for number in range(SETTINGS.address_login_rate_per_min):
        await fail_to_sign_in(world, 1, f"user{number}")
    with pytest.raises(errors.RateLimited):
        await world.accounts.login("one more", "wrong", HERE)
    await world.accounts.login("ada", "correct horse", HERE)
    with pytest.raises(errors.RateLimited):
        await world.accounts.login("one more", "wrong", HERE)
    await fail_to_sign_in(world, 1, "one more", THERE)
    world.now_s += 60.1
    await fail_to_sign_in(world, 1, "one more")


async def test_whoever_signs_in_rightly_uses_up_no_budget_of_their_address(world: World) -> None:
    await register(world)
    for _ in range(2 * SETTINGS.address_login_rate_per_min):
        await world.accounts.login("ada", "correct horse", HERE)
    await fail_to_sign_in(world, 1, "bob")


@pytest.mark.parametrize("refusal", [errors.Overloaded(), errors.Unavailable()])
async def test_an_attempt_that_was_not_judged_is_given_back(world: World, refusal: errors.RealtimeError) -> None:
    await register(world)
    signed_in = world.authenticator.authenticate((await world.accounts.login("ada", "correct horse", HERE)).access_token)
    verify, choose = world.passwords.verify, world.passwords.choose

    async def busy(*_arguments: Any, **_facts: Any) -> Any:
        raise refusal

    world.passwords.verify = world.passwords.choose = busy  # type: ignore[method-assign]
    for _ in range(2 * SETTINGS.address_login_rate_per_min):
        for attempt in (
            world.accounts.login("ada", "correct horse", HERE),
            world.accounts.change_password(signed_in, "correct horse", "another horse", HERE),
            world.accounts.register("bob", "correct horse", None, HERE),
        ):
            with pytest.raises(type(refusal)):
                await attempt
    world.passwords.verify, world.passwords.choose = verify, choose  # type: ignore[method-assign]
    await fail_to_sign_in(world, SETTINGS.login_rate_per_min)
    await register(world, "bob")


async def test_registrations_are_limited_by_address(world: World) -> None:
    for number in range(3):
        await register(world, f"user{number}")
    with pytest.raises(errors.RateLimited) as refused:
        await register(world, "user3")
    assert refused.value.retry_after_ms == 60_001  # three a minute
    await register(world, "user3", THERE)
    world.now_s += 60.1
    await register(world, "user4")


# -- refresh ----------------------------------------------------------------------------------------


async def test_a_refresh_token_is_exchanged_for_a_new_pair_of_the_same_session(world: World) -> None:
    first = await register(world)
    world.now_s += 600
    second = await world.accounts.refresh(first.refresh_token, HERE)
    assert second.refresh_token != first.refresh_token
    old, new = world.authenticator.authenticate(first.access_token), world.authenticator.authenticate(second.access_token)
    assert (new.session, new.user) == (old.session, old.user)
    assert new.expires_at_s == old.expires_at_s + 600


async def test_a_refresh_token_that_was_replaced_ends_the_session_everywhere(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    first = await register(world)
    second = await world.accounts.refresh(first.refresh_token, HERE)
    await world.accounts.refresh(second.refresh_token, HERE)
    session = world.authenticator.authenticate(second.access_token).session
    with pytest.raises(errors.RefreshTokenInvalid):
        await world.accounts.refresh(first.refresh_token, HERE)
    assert world.told == world.closed == [session]
    assert world.sessions.ended == [(session, "refresh token reused")]
    for access in (first.access_token, second.access_token):
        with pytest.raises(errors.SessionEnded):
            world.authenticator.authenticate(access)
    assert "used again" in caplog.text
    assert first.refresh_token not in caplog.text


async def test_a_refresh_token_of_no_session_ends_nothing(world: World) -> None:
    stranger = str(RefreshToken(SessionId("019b0000-0000-7000-8000-0000000000ff"), b"x" * 32))
    for text in (stranger, "nonsense"):
        with pytest.raises(errors.RefreshTokenInvalid):
            await world.accounts.refresh(text, HERE)
    assert world.told == world.closed == []


# -- passwords --------------------------------------------------------------------------------------


async def test_a_changed_password_keeps_this_session_with_new_tokens_and_ends_every_other(world: World) -> None:
    here = await register(world)
    there = await world.accounts.login("ada", "correct horse", THERE)
    principal = world.authenticator.authenticate(here.access_token)
    other = world.authenticator.authenticate(there.access_token).session
    changed = await world.accounts.change_password(principal, "correct horse", "another horse", HERE)
    assert world.closed == world.told == [other]
    assert world.authenticator.authenticate(changed.access_token).session == principal.session
    assert changed.refresh_token != here.refresh_token
    with pytest.raises(errors.InvalidCredentials):
        await world.accounts.login("ada", "correct horse", HERE)
    await world.accounts.login("ada", "another horse", HERE)
    await world.accounts.refresh(changed.refresh_token, HERE)


async def test_guesses_of_the_current_password_are_limited_as_sign_ins_are(world: World) -> None:
    principal = world.authenticator.authenticate((await register(world)).access_token)
    for _ in range(SETTINGS.login_rate_per_min):
        with pytest.raises(errors.WrongPassword):
            await world.accounts.change_password(principal, "a guess", "another horse", HERE)
    with pytest.raises(errors.RateLimited):
        await world.accounts.change_password(principal, "correct horse", "another horse", HERE)
    assert world.closed == []


async def test_of_two_changes_at_once_one_is_made(world: World) -> None:
    principal = world.authenticator.authenticate((await register(world)).access_token)
    outcomes = await asyncio.gather(
        *(world.accounts.change_password(principal, "correct horse", f"another horse {number}", HERE) for number in range(2)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in outcomes) == ["SignedIn", "WrongPassword"]


async def test_a_sign_in_whose_password_changed_while_it_was_checked_is_refused(world: World) -> None:
    await register(world)
    verify = world.passwords.verify

    async def slow(password_hash: str | None, password: str, who: str) -> Any:
        verified = await verify(password_hash, password, who)
        row = world.users.rows["ada"]
        world.users.rows["ada"] = Credentials(row.user, "changed", row.password_version + 1)
        return verified

    world.passwords.verify = slow  # type: ignore[method-assign]
    with pytest.raises(errors.InvalidCredentials):
        await world.accounts.login("ada", "correct horse", HERE)


async def test_a_password_that_works_once_needs_another_with_it(world: World) -> None:
    old = await register(world)
    row = world.users.rows["ada"]
    world.users.rows["ada"] = Credentials(row.user, row.password_hash, row.password_version, is_one_time=True)
    with pytest.raises(errors.PasswordChangeRequired):
        await world.accounts.login("ada", "correct horse", HERE)
    signed_in = await world.accounts.login("ada", "correct horse", HERE, new_password="another horse")
    assert world.authenticator.authenticate(signed_in.access_token).user == row.user
    with pytest.raises(errors.SessionEnded):
        world.authenticator.authenticate(old.access_token)
    with pytest.raises(errors.InvalidCredentials):
        await world.accounts.login("ada", "correct horse", HERE, new_password="a third horse")


async def test_an_account_has_so_many_sessions_and_the_oldest_ends(world: World) -> None:
    first = world.authenticator.authenticate((await register(world)).access_token).session
    for _ in range(MAX_SESSIONS):
        await world.accounts.login("ada", "correct horse", HERE, "a browser")
    assert world.closed == world.told == [first]
    assert len(world.sessions.rows) == MAX_SESSIONS
    assert world.sessions.agents[-1] == "a browser"


# -- the end of sessions ----------------------------------------------------------------------------


async def test_logging_out_closes_here_and_tells_the_others_and_the_token_is_worth_nothing(world: World) -> None:
    signed_in = await register(world)
    other = await world.accounts.login("ada", "correct horse", HERE)
    session = world.authenticator.authenticate(signed_in.access_token).session
    await world.accounts.logout(session)
    assert world.closed == world.told == [session]
    with pytest.raises(errors.SessionEnded):
        world.authenticator.authenticate(signed_in.access_token)
    assert world.authenticator.authenticate(other.access_token).user == other.user
    await world.accounts.logout(session)
    assert world.closed == [session]


async def test_logging_out_by_refresh_token_needs_the_right_one_and_says_nothing(world: World) -> None:
    signed_in = await register(world)
    session = world.authenticator.authenticate(signed_in.access_token).session
    await world.accounts.logout_by_refresh_token("nonsense")
    await world.accounts.logout_by_refresh_token(str(RefreshToken(session, b"x" * 32)))
    assert world.closed == []
    await world.accounts.logout_by_refresh_token(signed_in.refresh_token)
    assert world.closed == world.told == [session]


async def test_a_session_that_ended_elsewhere_is_closed_here_once_and_nobody_is_told_again(world: World) -> None:
    signed_in = await register(world)
    session = world.authenticator.authenticate(signed_in.access_token).session
    for _ in range(3):
        world.ended.note(session)
    assert (world.closed, world.told) == ([session], [])
    with pytest.raises(errors.SessionEnded):
        world.authenticator.authenticate(signed_in.access_token)


async def test_an_access_token_ends_with_its_time(world: World) -> None:
    signed_in = await register(world)
    world.now_s += 899.9
    world.authenticator.authenticate(signed_in.access_token)
    world.now_s += 0.2
    with pytest.raises(errors.TokenExpired):
        world.authenticator.authenticate(signed_in.access_token)


# -- what is read again and again, in virtual time --------------------------------------------------


def test_a_notice_that_was_lost_is_read_from_the_store_and_the_store_may_be_away_meanwhile() -> None:
    async def scenario() -> None:
        world = World()
        await world.open()
        signed_in = await register(world)
        session = world.authenticator.authenticate(signed_in.access_token).session
        world.sessions.away = True
        await asyncio.sleep(3 * POLL_S)
        await world.sessions.revoke(session, "by another node")
        world.sessions.away = False
        noticed_s = now_s()
        while not world.closed:
            await asyncio.sleep(0.1)
        assert now_s() - noticed_s <= POLL_S + 0.2
        assert (world.closed, world.told) == ([session], [])
        await asyncio.sleep(5 * POLL_S)
        assert world.closed == [session]
        assert world.sessions.asked_s[0] >= TOKEN_LIFE_S, "at the start, all whose tokens may be alive"
        assert world.sessions.asked_s[-1] < 2 * 60 + POLL_S, "later, what is new and a margin"
        await world.close()

    run(scenario())


def test_ended_sessions_are_forgotten_when_no_token_of_theirs_can_be_alive() -> None:
    async def scenario() -> None:
        world = World()
        await world.open()
        ended = SessionId("019b0000-0000-7000-8000-0000000000ff")
        world.ended.note(ended)
        await asyncio.sleep(TOKEN_LIFE_S - 1)
        world.ended.note(ended)
        assert world.closed == [ended]
        await asyncio.sleep(60 + POLL_S + 1)
        world.ended.note(ended)
        assert world.closed == [ended, ended]
        await world.close()

    run(scenario())


def test_a_key_that_another_node_made_is_read_in_time() -> None:
    async def scenario() -> None:
        world = World()
        await world.open()
        signs = world.keys.signing
        rotated = await world.keys.rotate(now=True)
        assert rotated
        assert world.keys.signing == signs
        stored = cast("KeyStore", world.keys._keys)
        stored.keys[-1].active = True
        await asyncio.sleep(RELOAD_S + 1)
        assert world.keys.signing[0] == stored.keys[-1].kid
        await world.close()

    run(scenario())


def test_closing_ends_everything_that_repeats() -> None:
    async def scenario() -> None:
        world = World()
        await world.open()
        await world.close()
        asked = len(world.sessions.asked_s)
        await asyncio.sleep(10 * POLL_S)
        assert len(world.sessions.asked_s) == asked
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


def test_without_the_store_it_does_not_open() -> None:
    async def scenario() -> None:
        world = World()
        world.sessions.away = True
        with pytest.raises(errors.Unavailable):
            await world.open()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())
