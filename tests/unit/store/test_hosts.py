"""URLs with several hosts, and what of a URL may be shown."""

from __future__ import annotations

import pytest

from realtime.store import hosts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://a@one/db", ["postgresql://a@one/db"]),
        (
            "postgresql://a:s%40x@one:5433,two/db?sslmode=require",
            ["postgresql://a:s%40x@one:5433/db?sslmode=require", "postgresql://a:s%40x@two/db?sslmode=require"],
        ),
        ("postgresql://a@[::1]:5432,[::2]/db", ["postgresql://a@[::1]:5432/db", "postgresql://a@[::2]/db"]),
        (
            "postgresql://a@/db?host=/run/one,two&port=5432,5433&sslmode=prefer",
            ["postgresql://a@/db?sslmode=prefer&host=/run/one&port=5432", "postgresql://a@/db?sslmode=prefer&host=two&port=5433"],
        ),
        (
            "postgresql:///db?host=one,two&port=6000",
            ["postgresql:///db?host=one&port=6000", "postgresql:///db?host=two&port=6000"],
        ),
        ("postgresql:///db?host=one,two", ["postgresql:///db?host=one", "postgresql:///db?host=two"]),
        ("postgresql:///db?host=/run/postgresql", ["postgresql:///db?host=/run/postgresql"]),
    ],
)
def test_each_host_of_a_url_becomes_a_url_of_its_own(url: str, expected: list[str]) -> None:
    assert hosts.each(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://ann:secret@one:5433,two/db?sslmode=require", "ann@one:5433,two/db"),
        ("postgresql:///db?host=/run/pg&user=ann&password=secret", "ann@/run/pg/db"),
        ("postgresql://ann:sec@ret@one/db", "ann@one/db"),
        ("postgresql://ann:secret@[::1/db", "(a URL that cannot be read)"),
        *[(f"postgresql://ann:sec{mark}ret@one/db", "(a URL that cannot be read)") for mark in "/?#"],
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, expected: str) -> None:
    assert hosts.shown(url) == expected
    assert "sec" not in hosts.shown(url) and "ret" not in hosts.shown(url)
