"""Envelopes: only nodes make them, and only for one channel."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bus.envelope import MAX_BYTES, VERSION, EnvelopeMac, Kind, Refusal, Refused

SENDER = b"12345678"


class Ring:
    def __init__(self, **secrets: bytes) -> None:
        self.secrets: dict[str, bytes] = dict(secrets)

    @property
    def signing(self) -> tuple[str, bytes]:
        return next(reversed(self.secrets.items()))


def sealer(**secrets: bytes) -> EnvelopeMac:
    return EnvelopeMac(Ring(**(secrets or {"a": b"secret"})), SENDER)


def refusal(reader: EnvelopeMac, channel: str, data: bytes) -> Refusal:
    with pytest.raises(Refused) as caught:
        reader.unpack(channel, data)
    return caught.value.reason


@given(st.sampled_from(Kind), st.lists(st.binary(max_size=200), max_size=5), st.integers(0, 2**63))
def test_what_is_packed_comes_out(kind: Kind, frames: list[bytes], number: int) -> None:
    found = sealer().unpack("rt:room:1", sealer().pack("rt:room:1", kind, frames, number))
    assert found == (SENDER, kind, number, frames)


@given(st.data())
def test_one_flipped_bit_anywhere_is_refused(data: st.DataObject) -> None:
    sealed = sealer().pack("c", Kind.EVENTS, [b"one", b"two"], 7)
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    changed = bytearray(sealed)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Refused):
        sealer().unpack("c", bytes(changed))


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        sealer().unpack("c", data)


def test_another_channel_another_key_and_another_version_are_refused_each_for_its_reason() -> None:
    sealed = sealer().pack("rt:room:1", Kind.SIGNAL, [b"frame"])
    assert refusal(sealer(), "rt:room:2", sealed) is Refusal.SEAL
    assert refusal(sealer(a=b"guessed"), "rt:room:1", sealed) is Refusal.SEAL
    assert refusal(sealer(b=b"secret"), "rt:room:1", sealed) is Refusal.KEY
    assert refusal(sealer(), "rt:room:1", bytes([VERSION + 1]) + sealed[1:]) is Refusal.VERSION
    assert refusal(sealer(), "rt:room:1", b"\0" + sealed[1:]) is Refusal.FORM
    assert refusal(sealer(), "rt:room:1", bytes([VERSION]) * (MAX_BYTES + 1)) is Refusal.SIZE


def test_a_kind_that_only_newer_nodes_know_is_refused_for_that_reason_and_only_when_a_node_sealed_it() -> None:
    newer: Kind = 99  # type: ignore[assignment]
    sealed = sealer().pack("rt:room:1", newer, [b"one", b"two"], 7)
    assert refusal(sealer(), "rt:room:1", sealed) is Refusal.KIND
    assert refusal(sealer(a=b"guessed"), "rt:room:1", sealed) is Refusal.SEAL
    assert refusal(sealer(), "rt:room:2", sealed) is Refusal.SEAL


def test_keys_rotate_without_a_moment_in_which_nodes_do_not_understand_each_other() -> None:
    old, new = os.urandom(32), os.urandom(32)
    ring = Ring(old=old)
    reader = EnvelopeMac(ring, b"reader..")
    assert reader.unpack("c", sealer(old=old).pack("c", Kind.CONTROL, [b"1"])).frames == [b"1"]
    ring.secrets["new"] = new  # announced, and then used by somebody
    assert reader.unpack("c", sealer(new=new).pack("c", Kind.CONTROL, [b"2"])).frames == [b"2"]
    assert reader.unpack("c", sealer(old=old).pack("c", Kind.CONTROL, [b"3"])).frames == [b"3"]
    del ring.secrets["old"]
    assert sealer(new=new).unpack("c", reader.pack("c", Kind.CONTROL, [b"4"])).frames == [b"4"]


def test_the_secret_itself_seals_nothing() -> None:
    """It signs tokens: a seal must say nothing about it that a token would accept, and the reverse."""
    import hashlib

    sealed = sealer().pack("c", Kind.PROBE, [], 1)
    assert hashlib.blake2b(sealed[25:], key=b"secret", digest_size=16).digest() != sealed[9:25]
