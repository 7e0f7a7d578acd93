"""What the database and its roles are called: what is there keeps its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from realtime.store import names
from realtime.store.names import BEFORE, NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (["postgres"], NAMES),
        (["postgres", "realtime"], BEFORE),
        (["postgres", "roomwire"], NAMES),
        (["postgres", "realtime", "roomwire"], NAMES),
    ],
)
def test_an_embedded_database_keeps_the_name_that_it_has(found: Sequence[str], wanted: names.Names) -> None:
    assert names.of(found) == wanted


def test_grants_name_the_role_that_is_there() -> None:
    sql = "GRANT SELECT ON events TO realtime_app; GRANT SELECT ON rooms TO roomwire_app, my_realtime_apps;"
    assert names.granted_to(sql, "roomwire_app").count("roomwire_app") == 2
    assert names.granted_to(sql, "realtime_app").count("realtime_app;") == 1
    assert names.granted_to(sql, None) == sql
