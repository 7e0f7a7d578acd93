"""What errors of PostgreSQL mean: what passes is not the request's fault."""

from __future__ import annotations

import asyncpg
import pytest

from realtime.store.sqlstate import Meaning, may_be_one_row, meaning


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ("08000 08003 08006 08001 57P01 57P02 57P03 57P04 28000 28P01 3D000 25006", Meaning.AWAY),
        ("26000 42P05 0A000 08P01 25P02 25P01 57P05", Meaning.CONNECTION),
        ("40001 40P01 40002", Meaning.AGAIN),
        ("53000 53100 53200 53300 53400 55P03 55006 57014 58000 58030 58P01 42501 42P01", Meaning.WANT),
        ("XX000 XX001 XX002 25P03 25P04 40003", Meaning.WANT),
        ("22000 22003 22021 22023 22P02 22P05 23502 23503 23505 23514 21000 44000 54000 P0001", Meaning.VALUE),
        ("42601 42804 42846 2F005 P0004", Meaning.OURS),
    ],
)  # fmt: skip
def test_a_code_means_by_its_class_whose_trouble_it_is(codes: str, expected: Meaning) -> None:
    assert {code: meaning(code) for code in codes.split()} == dict.fromkeys(codes.split(), expected)


def test_every_error_that_the_driver_knows_has_a_meaning_and_an_unknown_one_is_ours() -> None:
    known = {kind.sqlstate for kind in vars(asyncpg.exceptions).values() if getattr(kind, "sqlstate", None)}
    assert len(known) > 200
    assert {type(meaning(code)) for code in known} == {Meaning}
    assert meaning("ZZ999") is meaning("") is meaning(None) is Meaning.OURS


def test_a_batch_is_taken_apart_for_what_may_be_one_row_or_one_room_and_not_for_what_is_the_servers() -> None:
    assert [code for code in ["22021", "23505", "P0001", "55P03", "XX001", "54000"] if not may_be_one_row(code)] == []
    assert [code for code in ["53100", "57014", "42501", "40001", "57P01", "42601", "26000"] if may_be_one_row(code)] == []
