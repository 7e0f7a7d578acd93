"""What a refresh token means, by what is stored of its session."""

from __future__ import annotations

from dataclasses import replace

from realtime.auth import rotation
from realtime.auth.rotation import GRACE_S, Judged, Meaning
from realtime.auth.sessions import Rotation
from realtime.auth.tokens import RefreshToken
from realtime.model import SessionId, User, UserId

SESSION = SessionId("019b0000-0000-7000-8000-0000000000bb")
FAMILY, OTHER = b"f" * rotation.FAMILY_BYTES, b"o" * rotation.FAMILY_BYTES
FIRST, SECOND, THIRD = (rotation.make(SESSION, FAMILY, bytes([one]) * rotation.RANDOM_BYTES) for one in (1, 2, 3))
FORGED = RefreshToken(SESSION, b"x" * 32)
STORED = Rotation(
    SECOND.hash, FIRST.hash, FAMILY, rotation.seal(SECOND, FIRST), 1.0, User(UserId("u"), "ada", "Ada"), is_admin=False
)


def test_the_current_token_is_replaced() -> None:
    assert rotation.judge(STORED, SECOND) == Judged(Meaning.CURRENT)


def test_the_one_before_gets_the_same_successor_for_ten_seconds_and_then_a_new_one() -> None:
    assert rotation.judge(replace(STORED, age_s=GRACE_S), FIRST) == Judged(Meaning.REPEATED, SECOND)
    assert rotation.judge(replace(STORED, age_s=GRACE_S + 0.01), FIRST) == Judged(Meaning.CURRENT)


def test_a_node_of_the_version_before_stores_no_successor_that_fits() -> None:
    stale = replace(STORED, previous_hash=SECOND.hash, refresh_hash=THIRD.hash)
    assert rotation.judge(stale, SECOND) == Judged(Meaning.CURRENT)
    assert rotation.judge(replace(STORED, successor=None), FIRST) == Judged(Meaning.CURRENT)


def test_one_that_was_valid_once_is_known_however_old_it_is() -> None:
    later = replace(STORED, previous_hash=SECOND.hash, refresh_hash=THIRD.hash)
    assert rotation.judge(later, FIRST) == Judged(Meaning.REUSED)


def test_a_stranger_who_knows_the_session_ends_nothing() -> None:
    foreign = rotation.make(SESSION, OTHER, b"r" * rotation.RANDOM_BYTES)
    elsewhere = rotation.make(SessionId("019b0000-0000-7000-8000-0000000000cc"), FAMILY, b"r" * rotation.RANDOM_BYTES)
    for token in (FORGED, foreign, RefreshToken(SESSION, elsewhere.secret)):
        assert rotation.judge(STORED, token) == Judged(Meaning.UNKNOWN)
    assert rotation.judge(replace(STORED, family=None), FORGED) == Judged(Meaning.UNKNOWN)
    assert rotation.judge(None, SECOND) == Judged(Meaning.UNKNOWN)


def test_tokens_from_before_a_change_of_the_password_mean_nothing() -> None:
    changed = Rotation(THIRD.hash, None, OTHER, None, 1.0, STORED.user, is_admin=False)
    assert rotation.judge(changed, SECOND) == rotation.judge(changed, FIRST) == Judged(Meaning.UNKNOWN)


def test_what_is_stored_tells_no_token() -> None:
    stored = (STORED.successor or b"") + STORED.refresh_hash + (STORED.previous_hash or b"")
    for token in (FIRST, SECOND):
        assert token.secret not in stored
    assert rotation.seal(SECOND, FIRST) != rotation.seal(SECOND, THIRD)
