"""A start that waits for what can pass: how often, how long, and what ends it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from realtime.config import ConfigError
from realtime.errors import Forbidden, Unavailable
from realtime.node import starting
from realtime.node.engines import EngineError
from realtime.node.serve import told
from realtime.node.starting import Stopped, patiently
from realtime.store.starting import CannotStart

AWAY = "PostgreSQL at db:5432 cannot be used: connection refused. It is tried again."


class Flaky:
    """Fails some times, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.tried = 0

    async def __call__(self) -> str:
        self.tried += 1
        if self.errors:
            raise self.errors.pop(0)
        return "there"


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_PAUSE_S", (0.0, 0.0))


async def test_what_can_pass_is_tried_until_it_has_passed_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    flaky = Flaky(*[CannotStart(AWAY, passing=True)] * 5, Unavailable())
    with caplog.at_level(logging.WARNING):
        assert await patiently(flaky, asyncio.Event(), 60) == "there"
    assert flaky.tried == 7
    assert [AWAY in record.message for record in caplog.records] == [True, False], "and each other reason once"


async def test_what_cannot_pass_is_told_at_once() -> None:
    flaky = Flaky(CannotStart("The password is wrong.", passing=False))
    with pytest.raises(CannotStart, match="password"):
        await patiently(flaky, asyncio.Event(), 60)
    assert flaky.tried == 1


async def test_after_a_while_it_gives_up() -> None:
    flaky = Flaky(*[CannotStart(AWAY, passing=True)] * 1000)
    with pytest.raises(CannotStart, match="connection refused"):
        await patiently(flaky, asyncio.Event(), 0)
    assert flaky.tried == 1


async def test_a_signal_ends_it_in_the_middle_of_an_attempt() -> None:
    stop = asyncio.Event()
    ended: list[bool] = []

    async def hangs() -> str:
        stop.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)
        return "never"

    assert await patiently(hangs, stop, 60) is None
    assert ended == [True]


async def test_a_signal_ends_it_between_two_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "_PAUSE_S", (3600.0, 3600.0))
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    assert await patiently(Flaky(CannotStart(AWAY, passing=True)), stop, 7200) is None


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (ConfigError("ROOMWIRE_PORT is wrong."), 2, "roomwire: ROOMWIRE_PORT is wrong.\n"),
        (EngineError("PostgreSQL did not start: no rights."), 2, "roomwire: PostgreSQL did not start: no rights.\n"),
        (CannotStart("The password is wrong.", passing=False), 2, "roomwire: The password is wrong.\n"),
        (CannotStart(AWAY, passing=True), 75, f"roomwire: {AWAY}\n"),
        (Unavailable("Storage is away."), 75, "roomwire: Storage is away.\n"),
        (Forbidden("No."), 1, "roomwire: No.\n"),
        (Stopped(), 0, ""),
        (KeyboardInterrupt(), 0, ""),
    ],
)
def test_only_what_a_restart_cannot_mend_ends_with_status_2(
    failure: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise failure

    assert told(command) == status
    assert capsys.readouterr().err == said
