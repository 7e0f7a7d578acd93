"""Scopes: what each kind of caller has, and what an operation needs."""

from __future__ import annotations

import re

import pytest

from realtime.auth import scopes
from realtime.errors import Forbidden
from realtime.model import PrincipalKind, Scope


def test_a_signed_in_user_has_every_scope() -> None:
    assert scopes.granted(PrincipalKind.SESSION) == set(Scope)


@pytest.mark.parametrize("kind", PrincipalKind)
def test_each_kind_of_caller_has_its_scopes(kind: PrincipalKind) -> None:
    assert scopes.granted(kind) <= set(Scope)


def test_a_token_can_narrow_its_scopes_and_cannot_invent_any() -> None:
    wanted = ["rooms:read", "messages:write", "files:write", "rooms:*", "ROOMS:WRITE", "", "rooms"]
    assert scopes.granted(PrincipalKind.SESSION, wanted) == {Scope.ROOMS_READ, Scope.MESSAGES_WRITE}
    assert scopes.granted(PrincipalKind.SESSION, []) == frozenset()


def test_an_operation_opens_to_its_own_scope_alone() -> None:
    for needed in Scope:
        others = frozenset(Scope) - {needed}
        assert scopes.allows(frozenset({needed}), needed)
        assert not scopes.allows(others, needed)
        with pytest.raises(Forbidden, match=re.escape(str(needed))):
            scopes.require(others, needed)


def test_an_operation_without_a_scope_is_open_to_all() -> None:
    scopes.require(frozenset(), None)
    assert scopes.allows(frozenset(), None)


def test_every_scope_is_a_resource_and_read_or_write() -> None:
    assert all(re.fullmatch(r"[a-z]+:(?:read|write)", scope) for scope in Scope)
