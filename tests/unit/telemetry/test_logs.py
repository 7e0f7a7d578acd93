"""What a line has, and what it never has."""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from realtime import errors
from realtime.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "what-somebody-wrote"


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logs._Record)
    yield
    logging.setLogRecordFactory(before)


def line(formatter: logging.Formatter, error: BaseException | None = None, **extra: Any) -> str:
    record = logging.getLogger("realtime.x").makeRecord(
        "realtime.x", logging.ERROR, __file__, 1, "%d failed", (3,), (type(error), error, error.__traceback__) if error else None,
        extra=extra,
    )  # fmt: skip
    return formatter.format(record)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001 - to have its traceback
        return caught


def test_a_json_line_names_the_node_the_request_and_what_was_given() -> None:
    number = logs.request_id.set("abc12345")
    found = json.loads(line(logs.JsonFormatter("n1"), event="message.send", connection="xyz"))
    logs.request_id.reset(number)
    at = found.pop("at")
    assert at.endswith("+00:00")
    assert found == {
        "level": "error", "logger": "realtime.x", "node": "n1", "message": "3 failed", "request": "abc12345",
        "event": "message.send", "connection": "xyz",
    }  # fmt: skip
    assert "request" not in json.loads(line(logs.JsonFormatter()))


def test_a_line_for_the_terminal_has_what_was_given_too() -> None:
    assert line(logs.ConsoleFormatter(), reason="slow_reader").endswith("ERROR   realtime.x: 3 failed  reason=slow_reader")


def of_int() -> BaseException:
    try:
        int(SECRET)
    except ValueError as error:
        return error
    raise AssertionError


def of_key() -> BaseException:
    try:
        os.environ[SECRET]
    except KeyError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("error", [
    of_int(), of_key(), raised(asyncpg.DataError(f"invalid input: {SECRET}")), raised(msgspec.ValidationError(SECRET)),
    raised(RuntimeError("outer"), of_int()), raised(UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "bad")),
    raised(Exception(SECRET)),
])  # fmt: skip
@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.ConsoleFormatter()])
def test_of_an_exception_there_is_the_place_and_not_the_value(error: BaseException, formatter: logging.Formatter) -> None:
    text = line(formatter, error)
    assert SECRET not in text
    assert type(error).__qualname__ in text and "test_logs.py" in text


def test_texts_about_the_program_and_the_system_stay() -> None:
    assert "errno" in line(logs.JsonFormatter(), raised(OSError("errno 111"))).lower()
    assert "has no attribute" in line(logs.JsonFormatter(), raised(AttributeError("x has no attribute y")))
    assert errors.Unavailable.default in line(logs.JsonFormatter(), raised(errors.Unavailable()))
    error = asyncpg.DiskFullError("no room for " + SECRET)
    assert "53100" in line(logs.JsonFormatter(), raised(error))


def test_the_cause_comes_first_and_circles_end() -> None:
    text = logs.describe(raised(RuntimeError("outer"), of_int()))
    assert text.index("ValueError") < text.index("RuntimeError")
    first, second = Exception("a"), Exception("b")
    first.__cause__, second.__cause__ = second, first
    assert logs.describe(first).count("Exception") == 10


def test_the_libraries_are_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("asyncio", "aiohttp.server")}
    try:
        monkeypatch.setattr(sys, "stderr", sys.__stderr__)
        logs.configure("debug", "json", "n1")
        assert not logging.getLogger("asyncio").isEnabledFor(logging.INFO)
        assert not logging.getLogger("aiohttp.server").isEnabledFor(logging.ERROR)
        assert logging.getLogger("realtime.x").isEnabledFor(logging.DEBUG)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, one in levels.items():
            logging.getLogger(name).setLevel(one)
