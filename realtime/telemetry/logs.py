"""One line a record: for people on a terminal, as JSON elsewhere.

Of an exception the line has its type, where it came from, and its text only where that cannot hold what people wrote: drivers
and parsers put values into theirs.
"""

from __future__ import annotations

import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from realtime.errors import RealtimeError

if TYPE_CHECKING:
    from types import TracebackType

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the REST request that is being answered; on each of its lines, and in the header `X-Request-Id` of the answer."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
REPEATS, REPEAT_S = 10, 60.0
_PLACES = 1000
_HARMLESS = (RealtimeError, OSError, AttributeError, NameError, TypeError, ImportError, RecursionError)
"""Whose texts are about the program, or the system, and never about values."""


class _Record(logging.LogRecord):
    """Knows the request in which it was made: handlers may run elsewhere."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # whatever the standard library gives
        if found := request_id.get():
            self.request = found


class Repeats(logging.Filter):
    """Lets ten warnings a minute through from each place in the program, and the next one say how many were held back.

    Whatever goes on wrong, or is done over and over by a client, must not fill the disk or hide the other lines.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, int, object], tuple[float, int]] = {}  # since when, and how many

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        place = record.pathname, record.lineno, record.exc_info[0] if record.exc_info else None
        since_s, count = self._said.get(place, (float("-inf"), 0))
        if record.created - since_s >= REPEAT_S:
            if count > REPEATS:
                record.held_back = count - REPEATS
            if len(self._said) >= _PLACES:
                self._said.clear()
            since_s, count = record.created, 0
        self._said[place] = since_s, count + 1
        return count < REPEATS


class _Formatter(logging.Formatter):
    def formatException(
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return "" if ei[1] is None else describe(ei[1])


class JsonFormatter(_Formatter):
    """A JSON object: `at`, `level`, `logger`, `node`, `message`, `request`, what `extra` gave, and `exception`."""

    def __init__(self, node: str = "") -> None:
        super().__init__()
        self._fixed = {"node": node} if node else {}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **self._fixed,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class ConsoleFormatter(_Formatter):
    """For a terminal: the time, the level, who says it, what, and what `extra` gave."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        extra = " ".join(f"{key}={value}" for key, value in vars(record).items() if key not in _STANDARD)
        return super().formatMessage(record) + (f"  {extra}" if extra else "")


def describe(error: BaseException) -> str:
    """Write an exception down with where it came from, innermost last, and the exceptions that it came of."""
    parts: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(parts) < 10:
        frames = "".join(traceback.format_tb(seen.__traceback__))
        text = str(seen) if isinstance(seen, _HARMLESS) else str(getattr(seen, "sqlstate", "") or "")
        parts.append(f"{frames}{type(seen).__module__}.{type(seen).__qualname__}{': ' if text else ''}{text}")
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "\n".join(reversed(parts))


def configure(level: str, style: str, node: str = "") -> None:
    """Send every record to standard error.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        style: `console`, `json`, or `auto`: console on a terminal.
        node: Whose lines these are, for JSON.
    """
    handler = logging.StreamHandler(sys.stderr)
    plain = style == "console" or (style == "auto" and sys.stderr.isatty())
    handler.setFormatter(ConsoleFormatter() if plain else JsonFormatter(node))
    handler.addFilter(Repeats())
    # What is not even HTTP is answered with 400; a traceback with parts of the request helps nobody.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
    # Its debug lines are about file descriptors and slow callbacks, and name the arguments of those.
    logging.getLogger("asyncio").setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    logging.setLogRecordFactory(_Record)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
