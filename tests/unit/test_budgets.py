"""What a user may write: every write has a budget, and a budget that is used up refuses with the time to wait."""

from __future__ import annotations

import ast
import pathlib
from typing import TYPE_CHECKING

import pytest

import realtime
from realtime import errors
from realtime.budgets import COUNTED_ELSEWHERE, Budget, Budgets
from realtime.config import Config
from realtime.model import UserId
from realtime.node.operations import OPERATIONS
from realtime.node.settings import budgets
from realtime.operations import by_event
from realtime.surface.rest.problems import errors_of

if TYPE_CHECKING:
    from realtime.operations import Row

ANN, BOB = UserId("a"), UserId("b")
SOCKET: dict[str, Budget | None] = {
    "message.send": Budget.MESSAGES,
    "message.edit": Budget.MESSAGES,
    "message.delete": Budget.MESSAGES,
    "presence.set": Budget.PRESENCE,
    "room.subscribe": None,  # the others write nothing that stays
    "room.unsubscribe": None,
    "signal": None,
    "presence.watch": None,
    "auth.refresh": None,
}


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def made(clock: Clock) -> Budgets:
    found = budgets(Config())
    found._clock = clock
    return found


@pytest.mark.parametrize("row", [row for row in OPERATIONS if row.rest], ids=lambda row: row.name)
def test_every_route_that_writes_has_a_budget_and_says_that_it_refuses(row: Row) -> None:
    assert row.rest is not None
    assert (row.budget is not None) is (row.rest.method != "GET")
    if row.budget is not None:
        assert errors.RateLimited in errors_of(row)


def test_every_request_of_the_socket_is_told_what_it_counts_against() -> None:
    assert {name: row.budget for name, row in by_event(OPERATIONS).items()} == SOCKET


def granted(made: Budgets, budget: Budget, at_most: int, room: str | None = None, tokens: int = 1) -> int:
    for number in range(at_most):
        try:
            made.charge(budget, ANN, room, tokens)
        except errors.RateLimited as refused:
            return number if refused.retry_after_ms else -1
    return at_most


@pytest.mark.parametrize("budget", [one for one in Budget if one not in COUNTED_ELSEWHERE])
def test_a_budget_grants_its_burst_and_then_its_rate(made: Budgets, clock: Clock, budget: Budget) -> None:
    burst = {Budget.PRESENCE: 10, Budget.ROOMS: 1200, Budget.ADDS: 1200, Budget.JOINS: 10}.get(budget, 200)
    assert granted(made, budget, 5000, "room") == burst
    made.charge(budget, BOB, "room")  # others have their own
    clock.now_s += 60
    assert 1 <= granted(made, budget, 5000, "room") <= 60


def test_joins_are_counted_in_each_room_and_over_all(made: Budgets) -> None:
    assert [granted(made, Budget.JOINS, 100, f"room {number}") for number in range(120)] == [10] * 120
    assert granted(made, Budget.JOINS, 1, "another") == 0


def test_forced_memberships_of_large_rooms_are_owed(made: Budgets, clock: Clock) -> None:
    assert granted(made, Budget.ADDS, 100, tokens=199) == 7  # 1,200 at once, the last room on credit
    clock.now_s += 60
    assert granted(made, Budget.ADDS, 100, tokens=199) == 0
    clock.now_s += 140
    assert granted(made, Budget.ADDS, 100, tokens=199) == 1


def test_what_wrote_nothing_is_given_back(made: Budgets) -> None:
    for _ in range(3000):
        made.charge(Budget.ROOMS, ANN)
        made.give_back(Budget.ROOMS, ANN)


def written(made: Budgets, clock: Clock, text: str) -> tuple[int, errors.QuotaExceeded]:
    """Send until it is refused; return how many characters were, and the refusal."""
    sent = 0
    while True:
        clock.now_s += 0.02
        try:
            made.admit_send(ANN, text)
        except errors.QuotaExceeded as refused:
            return sent, refused
        sent += len(text)


def test_a_days_bytes_are_a_quota(made: Budgets, clock: Clock) -> None:
    text = "x" * 32_000
    sent, refused = written(made, clock, text)
    assert (256 << 20) <= sent <= (257 << 20)
    assert refused.retry_after_ms and not refused.retryable
    made.admit_send(ANN, None)  # a deletion
    made.admit_send(BOB, text)
    clock.now_s += 86_400 / 2
    made.admit_send(ANN, text)


def test_letters_of_other_scripts_count_as_the_bytes_that_they_take(made: Budgets, clock: Clock) -> None:
    sent, _ = written(made, clock, "я" * 8000)
    assert sent <= (256 << 20) / 2


LIMITED_BY = {
    "budgets": "users, at surface/door.py",
    "auth/service": "attempts, by address and account",
    "gateway/admission": "handshakes, by address",
    "gateway/gate": "answers that an address did not read",
    "surface/socket/dispatch": "requests, by connection, before they are read",
    "surface/socket/live": "signals, by connection and room: only of rooms that it is known to receive",
    "extensions/guest": "requests, by connection, of extensions",
}
"""Where limits are judged, and what they count. No handler of an operation is among them."""


def test_no_handler_judges_a_limit_by_itself() -> None:
    source = pathlib.Path(realtime.__file__).parent
    found = set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("RateLimited"):
                found.add(path.relative_to(source).with_suffix("").as_posix())
    assert found == LIMITED_BY.keys()
    users = [path for path in source.rglob("*.py") if "budgets import" in (text := path.read_text("utf-8")) and "Budgets" in text]
    assert {path.relative_to(source).as_posix() for path in users} == {"surface/door.py", "node/settings.py"}
