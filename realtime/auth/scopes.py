"""Which scopes a caller has, and whether they open an operation. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.errors import Forbidden
from realtime.model import PrincipalKind, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MOST: Mapping[PrincipalKind, frozenset[Scope]] = {PrincipalKind.SESSION: frozenset(Scope)}
_KNOWN: Mapping[str, Scope] = {scope.value: scope for scope in Scope}


def granted(kind: PrincipalKind, wanted: Iterable[str] | None = None) -> frozenset[Scope]:
    """Return the scopes of a caller.

    Args:
        kind: Bounds them.
        wanted: Narrows them further; None: all that the kind may have. A scope that only newer nodes know grants nothing.
    """
    most = _MOST[kind]
    return most if wanted is None else most & {_KNOWN[text] for text in wanted if text in _KNOWN}


def allows(scopes: frozenset[Scope], needed: Scope | None) -> bool:
    """Tell whether scopes open an operation that needs this one; None: it needs none."""
    return needed is None or needed in scopes


def require(scopes: frozenset[Scope], needed: Scope | None) -> None:
    """Return if scopes open an operation that needs this one. Raises Forbidden."""
    if not allows(scopes, needed):
        raise Forbidden(f"The access token lacks the scope {needed}.")
