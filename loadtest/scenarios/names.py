"""Scenarios by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.scenarios import connect, fanout, idle, request

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.report.model import Result

SCENARIOS: dict[str, Callable[..., Result]] = {
    "connect": connect.run,
    "idle": idle.run,
    "fanout": fanout.run,
    "request": request.run,
}
