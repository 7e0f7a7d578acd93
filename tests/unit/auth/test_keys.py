"""The ring of signing keys over a store in memory: which keys count, which one signs, and what stays when the store is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from realtime.auth.keys import ANNOUNCE_S, RELOAD_S, KeyRing
from realtime.errors import Unavailable
from realtime.tasks import Loops


@dataclass
class StoredKey:
    kid: str
    secret: bytes
    active: bool


@dataclass
class Store:
    """Keys that nodes share; rotates when the test says that the newest is old."""

    keys: list[StoredKey] = field(default_factory=list)
    away: bool = False
    is_old: bool = False
    rotations: list[tuple[float, float, float]] = field(default_factory=list)

    async def usable(self) -> Sequence[StoredKey]:
        if self.away:
            raise Unavailable
        return list(self.keys)

    async def ensure(self, kid: str, secret: bytes) -> None:
        if self.away:
            raise Unavailable
        if not self.keys:
            self.keys.append(StoredKey(kid, secret, True))

    async def rotate(self, kid: str, secret: bytes, *, older_than_s: float, announce_s: float, token_ttl_s: float) -> bool:
        self.rotations.append((older_than_s, announce_s, token_ttl_s))
        if not self.is_old and older_than_s >= 0:
            return False
        self.keys.append(StoredKey(kid, secret, False))
        return True


def ring(store: Store) -> KeyRing:
    return KeyRing(store, 30 * 86_400.0, 930.0, Loops())


async def test_the_first_node_makes_a_key_and_the_next_one_takes_the_same() -> None:
    store = Store()
    one, two = ring(store), ring(store)
    await one.open()
    await two.open()
    assert one.signing == two.signing
    kid, secret = one.signing
    assert dict(one.secrets) == {kid: secret}
    assert len(secret) == 32
    assert len(kid) == 16


async def test_two_clusters_never_make_the_same_key() -> None:
    one, two = ring(Store()), ring(Store())
    await one.open()
    await two.open()
    assert one.signing[0] != two.signing[0]
    assert one.signing[1] != two.signing[1]


async def test_before_any_key_was_read_nothing_is_signed_and_nothing_is_known() -> None:
    unopened = ring(Store())
    with pytest.raises(Unavailable):
        unopened.signing  # noqa: B018 - the property raises
    assert dict(unopened.secrets) == {}


async def test_the_newest_active_key_signs_and_all_verify() -> None:
    store = Store([StoredKey("old", b"o", True), StoredKey("new", b"n", True), StoredKey("announced", b"a", False)])
    one = ring(store)
    await one.reload()
    assert one.signing == ("new", b"n")
    assert dict(one.secrets) == {"old": b"o", "new": b"n", "announced": b"a"}


async def test_a_key_that_is_no_longer_usable_is_forgotten() -> None:
    store = Store([StoredKey("old", b"o", True)])
    one = ring(store)
    await one.reload()
    store.keys = [StoredKey("new", b"n", True)]
    await one.reload()
    assert dict(one.secrets) == {"new": b"n"}
    assert one.signing == ("new", b"n")


async def test_with_no_active_key_nothing_is_signed() -> None:
    store = Store([StoredKey("announced", b"a", False)])
    one = ring(store)
    await one.reload()
    with pytest.raises(Unavailable):
        one.signing  # noqa: B018 - the property raises
    assert dict(one.secrets) == {"announced": b"a"}


async def test_what_was_known_stays_while_the_store_is_away() -> None:
    store = Store([StoredKey("k", b"s", True)])
    one = ring(store)
    await one.reload()
    store.away = True
    with pytest.raises(Unavailable):
        await one.reload()
    with pytest.raises(Unavailable):
        await one.open()
    assert one.signing == ("k", b"s")
    assert dict(one.secrets) == {"k": b"s"}


async def test_an_old_key_is_replaced_and_the_new_one_verifies_at_once_and_does_not_sign_yet() -> None:
    store = Store([StoredKey("old", b"o", True)], is_old=True)
    one = ring(store)
    await one.reload()
    assert await one.rotate()
    assert store.rotations == [(30 * 86_400.0, ANNOUNCE_S, 930.0)]
    assert one.signing == ("old", b"o")
    assert len(one.secrets) == 2
    store.keys[-1].active = True
    await one.reload()
    assert one.signing == (store.keys[-1].kid, store.keys[-1].secret)


async def test_a_young_key_is_not_replaced_unless_asked_to_at_once() -> None:
    store = Store([StoredKey("young", b"y", True)])
    one = ring(store)
    await one.reload()
    assert not await one.rotate()
    assert len(store.keys) == 1
    assert await one.rotate(now=True)
    assert store.rotations[-1][0] == float("-inf")
    assert len(one.secrets) == 2


def test_every_node_has_read_a_new_key_before_it_signs() -> None:
    assert ANNOUNCE_S >= 2 * RELOAD_S
