"""Checking access tokens, whoever issued them."""

from __future__ import annotations

import pytest

from realtime.auth.authenticator import Authenticator
from realtime.errors import SessionEnded, TokenExpired, TokenInvalid
from realtime.model import Principal, PrincipalKind, Scope

KEY = Principal(PrincipalKind.SESSION, "another issuer's", None, frozenset({Scope.ROOMS_READ}), 1_000)


class OtherIssuer:
    """An issuer whose one token is `theirs`."""

    def verify(self, token: str, now_s: float) -> Principal:
        if token != "theirs":
            raise TokenInvalid
        if now_s >= KEY.expires_at_s:
            raise TokenExpired
        return KEY


def test_an_issuer_of_another_kind_needs_no_more_than_to_verify() -> None:
    now_s, revoked = 10.0, set[str]()
    authenticator = Authenticator(OtherIssuer(), revoked, lambda: now_s)
    assert authenticator.authenticate("theirs") is KEY
    with pytest.raises(TokenInvalid):
        authenticator.authenticate("ours")
    revoked.add(KEY.credential)
    with pytest.raises(SessionEnded):
        authenticator.authenticate("theirs")
    now_s = 1_000.0
    with pytest.raises(TokenExpired):
        authenticator.authenticate("theirs")
