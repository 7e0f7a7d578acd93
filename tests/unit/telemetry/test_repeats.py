"""Repeated warnings do not fill the log."""

from __future__ import annotations

import logging

from realtime.telemetry import logs
from realtime.telemetry.logs import Repeats


def record(line: int, at_s: float, level: int = logging.WARNING, error: type[Exception] | None = None) -> logging.LogRecord:
    made = logging.LogRecord("realtime.part", level, "part.py", line, "something is wrong", (), None)
    made.created = at_s
    if error is not None:
        made.exc_info = (error, error(), None)
    return made


def test_each_place_says_ten_warnings_a_minute_and_then_how_many_were_held_back() -> None:
    repeats = Repeats()
    assert [repeats.filter(record(1, 100 + second)) for second in range(59)].count(True) == logs.REPEATS
    assert all(repeats.filter(record(2, 100 + second)) for second in range(10)), "another place"
    assert repeats.filter(record(1, 101, error=ValueError)), "another error"
    after = record(1, 161)
    assert repeats.filter(after)
    assert vars(after)["held_back"] == 59 - logs.REPEATS
    assert "held_back" not in vars(record(1, 162))
    assert b"held_back" in logs.JsonFormatter().format(after).encode()


def test_what_is_no_warning_is_always_said() -> None:
    repeats = Repeats()
    assert all(repeats.filter(record(1, 100, logging.INFO)) for _ in range(1000))
