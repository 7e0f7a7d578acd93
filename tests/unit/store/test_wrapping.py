"""Wrapped secrets alone: what opens one, what does not, and what is never shown."""

from __future__ import annotations

import base64
import re
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.store.wrapping import (
    KEY_BYTES,
    NONCE_BYTES,
    MasterKey,
    MasterKeys,
    Place,
    UnknownMasterKey,
    Unreadable,
    unknown,
    wrapped_under,
)

OLD, NEW = MasterKey(b"\x01" * KEY_BYTES), MasterKey(b"\x02" * KEY_BYTES)
KEYS = MasterKeys([OLD])
HERE = Place("signing_keys", "wrapped", "k1")
SECRET = b"the secret of a key that signs.."


def test_a_wrapped_value_says_its_version_and_key_and_holds_no_secret() -> None:
    value = KEYS.wrap(SECRET, HERE)
    version, key, nonce, ciphertext = value.split(".")
    assert (version, key) == ("v1", OLD.id)
    assert wrapped_under(value) == OLD.id
    assert re.fullmatch(r"[A-Za-z0-9._-]+", value)
    assert len(decoded(nonce)) == NONCE_BYTES
    assert len(decoded(ciphertext)) == len(SECRET) + 16
    assert SECRET not in decoded(ciphertext)


@given(secret=st.binary(max_size=200), table=st.text("ab", min_size=1), column=st.text("ab", min_size=1), row=st.text())
def test_what_was_wrapped_for_a_place_is_read_there(secret: bytes, table: str, column: str, row: str) -> None:
    place = Place(table, column, row.replace("\0", ""))
    assert KEYS.unwrap(KEYS.wrap(secret, place), place) == secret


def test_no_two_values_share_a_nonce() -> None:
    nonces = {KEYS.wrap(b"", HERE).split(".")[2] for _ in range(10_000)}
    assert len(nonces) == 10_000


def test_a_value_is_read_in_no_other_table_column_or_row() -> None:
    value = KEYS.wrap(SECRET, HERE)
    for place in (HERE._replace(table="webhooks"), HERE._replace(column="secret"), HERE._replace(row="k2")):
        with pytest.raises(Unreadable, match="was changed, or copied from another row"):
            KEYS.unwrap(value, place)


def test_no_place_runs_into_another() -> None:
    values = {place: KEYS.wrap(SECRET, place) for place in (Place("a", "bc", "d"), Place("ab", "c", "d"), Place("a", "b", "cd"))}
    for one, other in permutations(values, 2):
        with pytest.raises(Unreadable):
            KEYS.unwrap(values[one], other)
    with pytest.raises(ValueError, match="NUL"):
        KEYS.wrap(SECRET, Place("a", "b", "c\0d"))


def test_every_flipped_bit_is_noticed() -> None:
    value = KEYS.wrap(SECRET, HERE)
    version, key, nonce, ciphertext = value.split(".")
    for index, part in ((2, nonce), (3, ciphertext)):
        raw = decoded(part)
        for bit in range(8 * len(raw)):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << bit % 8
            parts = [version, key, nonce, ciphertext]
            parts[index] = base64.urlsafe_b64encode(flipped).rstrip(b"=").decode()
            with pytest.raises(Unreadable):
                KEYS.unwrap(".".join(parts), HERE)


def test_every_truncated_or_lengthened_value_is_refused() -> None:
    value = KEYS.wrap(SECRET, HERE)
    for wrong in [value[:length] for length in range(len(value))] + [value + end for end in ("A", "AA", "=", ".", ".AA", "\n")]:
        with pytest.raises(Unreadable):
            KEYS.unwrap(wrong, HERE)


@given(st.text())
def test_rubbish_is_refused_in_one_way(text: str) -> None:
    for value in (text, f"v1.{OLD.id}.{text}", f"v1.{text}.AAAAAAAAAAAAAAAA.{text}"):
        wrapped_under(value)
        with pytest.raises(Unreadable):
            KEYS.unwrap(value, HERE)


def test_a_value_of_a_newer_release_is_refused_as_such() -> None:
    with pytest.raises(Unreadable, match="newer release"):
        KEYS.unwrap("v2." + KEYS.wrap(SECRET, HERE).removeprefix("v1."), HERE)


def test_the_first_key_wraps_and_all_of_them_unwrap() -> None:
    both = MasterKeys([NEW, OLD])
    assert both.ids == [NEW.id, OLD.id]
    value = KEYS.wrap(SECRET, HERE)
    assert both.unwrap(value, HERE) == SECRET
    assert wrapped_under(both.wrap(SECRET, HERE)) == NEW.id
    with pytest.raises(UnknownMasterKey, match=NEW.id):
        KEYS.unwrap(both.wrap(SECRET, HERE), HERE)


def test_a_value_that_names_another_key_than_its_own_is_refused() -> None:
    value = KEYS.wrap(SECRET, HERE).replace(OLD.id, NEW.id)
    with pytest.raises(Unreadable):
        MasterKeys([OLD, NEW]).unwrap(value, HERE)


def test_an_id_that_the_database_made_up_is_not_shown() -> None:
    assert "(unknown)" in str(unknown("\x1b[2Jtake this", HERE))
    assert "(unknown)" in str(unknown("a" * 100, HERE))
    assert OLD.id in str(unknown(OLD.id, HERE))


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_master_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKey(b"x" * length)


def test_neither_names_nor_errors_show_a_secret() -> None:
    value = KEYS.wrap(SECRET, HERE)
    shown = [repr(OLD), repr(KEYS), str(HERE)]
    for wrong in (value[:-4] + "AAAA", value[:-3] + "!!!", "v1.x.y.z"):
        with pytest.raises(Unreadable) as refused:
            KEYS.unwrap(wrong, HERE)
        shown += [str(refused.value), repr(refused.value), repr(refused.value.__cause__)]
        assert refused.value.__suppress_context__ or refused.value.__context__ is None
    for text in shown:
        assert "\\x01" not in text
        assert value.split(".")[3][:8] not in text


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
