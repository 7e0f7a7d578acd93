"""Scenarios by name, and how one is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadtest.measure.machine import Others
from loadtest.scenarios import chat, connect, fanout, idle, request, slow, soak, storm

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.report.model import Result
    from loadtest.scenarios.context import Context

SCENARIOS: dict[str, Callable[..., Result]] = {
    "connect": connect.run,
    "idle": idle.run,
    "fanout": fanout.run,
    "chat": chat.run,
    "request": request.run,
    "storm": storm.run,
    "slow": slow.run,
    "soak": soak.run,
}


def run(name: str, context: Context, parameters: dict[str, Any]) -> Result:
    """Run a scenario, and note what else the machine did meanwhile."""
    others = Others(context.cpu())
    result = SCENARIOS[name](context, **parameters)
    result.others = others.share(context.cpu()) if context.peer.pid is not None else None
    return result
