"""Access tokens and refresh tokens alone: times and keys are arguments, and what is not ours is refused in one way."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.auth import tokens
from realtime.auth.tokens import ALGORITHM, SECRET_BYTES, TYPE, Claims, RefreshToken
from realtime.errors import RefreshTokenInvalid, TokenExpired, TokenInvalid
from realtime.model import Principal, PrincipalKind, Scope, SessionId, User, UserId

CLAIMS = Claims("issuer", "audience")
ADA = User(UserId("019b0000-0000-7000-8000-000000000001"), "ada", "Ada Lovelace 👩‍💻")
SESSION = SessionId("019b0000-0000-7000-8000-0000000000bb")
SECRETS = {"k1": b"1" * 32, "k2": b"2" * 32}
NOW_S = 1_700_000_000
CLAIM_NAMES = ("iss", "aud", "sub", "sid", "exp", "iat", "preferred_username", "name")


def issue(now_s: int = NOW_S, ttl_s: int = 900, kid: str = "k1", claims: Claims = CLAIMS) -> str:
    return tokens.issue(claims, kid, SECRETS[kid], ADA, SESSION, now_s, ttl_s)


def verify(token: str, now_s: float = NOW_S) -> Principal:
    return tokens.verify(CLAIMS, SECRETS, token, now_s)


def signed(header: dict[str, Any] | None = None, *, without: str = "", secret: bytes = SECRETS["k1"], **payload: Any) -> str:
    """Sign a token like ours, with some claims changed."""
    claims: dict[str, Any] = {
        "iss": "issuer", "aud": "audience", "sub": ADA.id, "sid": SESSION, "iat": NOW_S, "exp": NOW_S + 900,
        "preferred_username": "ada", "name": "Ada",
    }  # fmt: skip
    claims = {name: value for name, value in (claims | payload).items() if name != without}
    # By the library's lower half, which does not look at the claims.
    return jwt.PyJWS().encode(json.dumps(claims).encode(), secret, ALGORITHM, {"kid": "k1", "typ": TYPE} | (header or {}))


# -- access tokens ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kid", SECRETS)
def test_a_token_says_who_it_speaks_for_and_until_when_under_every_key(kid: str) -> None:
    assert verify(issue(kid=kid)) == Principal(PrincipalKind.SESSION, SESSION, ADA, frozenset(Scope), NOW_S + 900)


def test_a_token_has_the_header_and_the_claims_of_rfc_9068_and_no_secret() -> None:
    header, payload, _ = issue().split(".")
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "HS256", "typ": "at+jwt", "kid": "k1"}
    assert json.loads(base64.urlsafe_b64decode(payload + "==")) == {
        "iss": "issuer",
        "aud": "audience",
        "sub": ADA.id,
        "sid": SESSION,
        "iat": NOW_S,
        "exp": NOW_S + 900,
        "preferred_username": "ada",
        "name": ADA.display_name,
        "ver": 1,
    }


def test_a_token_of_the_release_before_is_good_and_one_of_a_release_to_come_is_refused() -> None:
    assert verify(signed()).user == User(ADA.id, "ada", "Ada")
    for version in (2, "1", None):
        with pytest.raises(TokenInvalid):
            verify(signed(ver=version))


def test_a_token_that_a_newer_node_narrowed_stays_narrow_here() -> None:
    assert verify(signed(scope="rooms:read files:write")).scopes == {Scope.ROOMS_READ}
    assert verify(signed(scope="")).scopes == frozenset()
    for scope in (["rooms:read"], 1):
        with pytest.raises(TokenInvalid):
            verify(signed(scope=scope))


def test_logs_name_a_caller_by_kind_credential_and_user() -> None:
    assert str(verify(issue())) == f"session:{SESSION} user:{ADA.id}"


def test_claims_and_header_fields_of_a_release_to_come_are_ignored() -> None:
    token = signed({"x5t": "…", "crit_not": [1]}, act={"sub": "bot"}, x_future=None, roles=["x.future"])
    assert verify(token) == verify(signed())


@pytest.mark.parametrize(
    ("now_s", "good"), [(NOW_S - 3600.0, True), (NOW_S + 899.999, True), (NOW_S + 900.0, False), (2e10, False)]
)
def test_a_token_is_good_until_its_last_moment_and_not_at_it(now_s: float, good: bool) -> None:
    token = issue()
    if good:
        assert verify(token, now_s).expires_at_s == NOW_S + 900
    else:
        with pytest.raises(TokenExpired):
            verify(token, now_s)


@pytest.mark.parametrize(
    "token",
    {
        "of another issuer": issue(claims=Claims("other", "audience")),
        "for another audience": issue(claims=Claims("issuer", "other")),
        "signed with another secret": signed(secret=b"3" * 32),
        "signed with the secret of another key": signed({"kid": "k2"}),
        "of an unknown key": signed({"kid": "k3"}),
        "of another type": signed({"typ": "JWT"}),
        "whose user is no id": signed(sub="ada"),
        "whose user is an id in capitals": signed(sub=ADA.id.upper()),
        "whose session is no id": signed(sid="1"),
        "whose session is a number": signed(sid=1),
        "whose end is text": signed(exp="tomorrow"),
        "whose end is nothing": signed(exp=None),
        **{f"without {name}": signed(without=name) for name in CLAIM_NAMES},
        "without a signature": jwt.encode({"sub": ADA.id}, "", "none", headers={"kid": "k1", "typ": TYPE}),
        "signed by another algorithm": jwt.encode({}, b"1" * 64, "HS512", headers={"kid": "k1", "typ": TYPE}),
        "cut off": issue()[:-1],
        "longer": issue() + "A",
        "empty": "",
        "dots": "..",
        "no token": "not.a.token",
        "with a surrogate": "\ud800" * 3,
        "with a NUL": issue() + "\x00",
        "of brackets": ".".join([base64.urlsafe_b64encode(b"[" * 100_000).decode()] * 3),
        "of digits": ".".join([base64.urlsafe_b64encode(b'{"kid":' + b"9" * 5_000 + b"}").decode()] * 3),
    }.items(),
    ids=lambda case: case[0],
)
def test_a_token_that_is_not_ours_is_invalid(token: tuple[str, str]) -> None:
    with pytest.raises(TokenInvalid):
        verify(token[1])


def test_a_changed_payload_is_invalid_even_when_the_old_one_was_ours() -> None:
    header, payload, signature = issue().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["sub"] = "019b0000-0000-7000-8000-000000000002"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    with pytest.raises(TokenInvalid):
        verify(f"{header}.{forged}.{signature}")


def test_a_token_that_is_over_and_not_ours_is_invalid_and_not_expired() -> None:
    with pytest.raises(TokenInvalid):
        verify(signed(secret=b"3" * 32), NOW_S + 10_000)


def test_the_type_is_compared_without_regard_to_case() -> None:
    assert verify(signed({"typ": "AT+JWT"})).session == SESSION


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=80) | st.text("ABCabc0123456789-_.=", max_size=120))
def test_text_of_any_kind_is_refused_as_invalid(text: str) -> None:
    with pytest.raises(TokenInvalid):
        verify(text)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 10_000), st.characters(), st.sampled_from(["replace", "insert", "delete"]))
def test_a_token_with_one_character_changed_is_invalid_or_the_same_one(at: int, character: str, how: str) -> None:
    token = issue()
    at %= len(token)
    changed = token[:at] + ("" if how == "delete" else character) + token[at + (how != "insert") :]
    try:
        found = verify(changed)
    except TokenInvalid:
        return
    # The last character of a base64 text has bits that mean nothing.
    assert found == verify(token)


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([*CLAIM_NAMES, "nbf", "jti"]), json_value)
def test_a_token_signed_with_our_key_but_of_another_shape_is_refused_and_breaks_nothing(claim: str, value: Any) -> None:
    try:
        found = verify(signed(**{claim: value}))
    except (TokenInvalid, TokenExpired):
        return
    assert found.user is not None
    assert (found.user.id, found.session) == (ADA.id, SESSION)
    assert isinstance(found.expires_at_s, int)
    assert isinstance(found.user.username, str)
    assert isinstance(found.user.display_name, str)


# -- refresh tokens ---------------------------------------------------------------------------------

uuids = st.uuids().map(lambda uuid: SessionId(str(uuid)))


@settings(deadline=None, max_examples=100)
@given(uuids, st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES))
def test_a_refresh_token_is_read_as_it_was_written(session: SessionId, secret: bytes) -> None:
    token = RefreshToken(session, secret)
    assert RefreshToken.parse(str(token)) == token


def test_a_refresh_token_is_one_word_with_a_prefix_that_scanners_know() -> None:
    text = str(RefreshToken(SESSION, b"\xff" * SECRET_BYTES))
    assert text == "rt_019b000000007000800000000000" + "00bb_" + "_" * 42 + "8"


def test_only_the_hash_of_the_secret_leaves_and_it_is_sha256() -> None:
    token = RefreshToken(SESSION, b"s" * SECRET_BYTES)
    assert token.hash == hashlib.sha256(b"s" * SECRET_BYTES).digest()
    assert RefreshToken(SESSION, b"t" * SECRET_BYTES).hash != token.hash


GOOD = str(RefreshToken(SESSION, b"s" * SECRET_BYTES))


@pytest.mark.parametrize(
    "text",
    ["", "rt_", "rt__", GOOD[3:], "RT_" + GOOD[3:], GOOD[:-1], GOOD + "A", GOOD + "=", GOOD.replace("_", "-"), GOOD[:36],
     GOOD[:35], " " + GOOD, GOOD + "\n", GOOD[:10] + "X" + GOOD[11:], GOOD[:-5] + "é" + GOOD[-4:], GOOD[:-5] + "!" + GOOD[-4:],
     "\ud800" * 79, GOOD[:3] + SESSION + GOOD[35:], GOOD[:3] + "A" * 32 + GOOD[35:], "rt_" + "0" * 100_000],
)  # fmt: skip
def test_a_text_of_another_form_is_no_refresh_token(text: str) -> None:
    with pytest.raises(RefreshTokenInvalid):
        RefreshToken.parse(text)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=90) | st.text("rt_0123456789abcdef-", max_size=90).map(lambda text: "rt_" + text))
def test_garbage_is_no_refresh_token_and_breaks_nothing(text: str) -> None:
    with pytest.raises(RefreshTokenInvalid):
        RefreshToken.parse(text)
