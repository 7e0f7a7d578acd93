"""The whole comparison: the same scenarios on every server that can be had here, interleaved, in one run."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loadtest.client.swarm import ClientFailed
from loadtest.measure import machine
from loadtest.peers.base import Unavailable
from loadtest.peers.names import PEERS
from loadtest.peers.rest import RestFailed
from loadtest.report.model import Result, Run
from loadtest.scenarios import names
from loadtest.scenarios.context import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.peers.base import Peer
    from loadtest.report.progress import Bars


@dataclass(frozen=True, slots=True)
class Step:
    """One scenario with its parameters."""

    scenario: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run.

    Args:
        peers: Names of servers that run `shared`, one after the other, `repetitions` times: A B C A B C, since the machine's
            speed drifts. A server runs its steps in one life.
        alone: Steps of ours that have no peer, each on a fresh server, in this order.
    """

    peers: tuple[str, ...]
    shared: tuple[Step, ...]
    repetitions: int
    alone: tuple[Step, ...] = ()


_AGAIN = (
    Step("fanout", {"members": 100, "deliveries": 100_000}),
    Step("fanout", {"members": 10_000, "deliveries": 200_000}),
    Step("chat"),
    Step("storm"),
)
FULL = Plan(
    peers=tuple(PEERS),
    shared=(
        Step("connect", {"connections": 2000}),
        Step("request", {"seconds": 1.5}),
        Step("fanout", {"members": 1000, "deliveries": 100_000}),
    ),
    repetitions=3,
    alone=(*_AGAIN, Step("idle"), *_AGAIN, Step("slow")),
)
QUICK = Plan(
    peers=("roomwire", "node"),
    shared=(
        Step("connect", {"connections": 1000}),
        Step("request", {"seconds": 1.0}),
        Step("fanout", {"members": 1000, "deliveries": 40_000}),
    ),
    repetitions=1,
    alone=(Step("chat", {"seconds": 4.0}), Step("storm", {"connections": 2000})),
)


def steps_of(plan: Plan, installed: Sequence[Peer]) -> int:
    """Count the steps, for the bar."""
    shared = sum(step.scenario in peer.can for peer in installed for step in plan.shared) * plan.repetitions
    return shared + len(plan.alone)


def install(run: Run, wanted: Sequence[str], bars: Bars) -> list[Peer]:
    """Get the servers; those that cannot be had are noted and left out."""
    installed = []
    for name in wanted:
        peer = PEERS[name]()
        bars.begin(f"getting {peer.name}")
        try:
            peer.install()
        except Unavailable as why:
            run.absent[peer.name] = str(why)
            bars.console.print(f"not measured: {peer.name}: {why}", style="yellow")
        else:
            installed.append(peer)
    return installed


def measure(run: Run, plan: Plan, installed: Sequence[Peer], bars: Bars, processes: int) -> None:
    """Run a plan; results are added as they come, so that a run that is cut short has what it has."""
    for _ in range(plan.repetitions):
        for peer in installed:
            _life(run, peer, [step for step in plan.shared if step.scenario in peer.can], bars, processes)
    ours = next((peer for peer in installed if peer.dialect == "roomwire"), None)
    if ours is not None:
        for step in plan.alone:
            _life(run, ours, [step], bars, processes)


def _life(run: Run, peer: Peer, steps: Sequence[Step], bars: Bars, processes: int) -> None:
    with peer:
        context = Context(peer, bars, processes, run.seed)
        for step in steps:
            bars.begin(f"{step.scenario}: {peer.name}")
            parameters = dict(step.parameters)
            if "deliveries" in parameters:
                parameters["deliveries"] = int(parameters["deliveries"] * peer.pace)
            try:
                result = names.run(step.scenario, context, parameters)
            except (ClientFailed, RestFailed) as failure:  # told with the report; what else there is to measure is measured
                lines = str(failure).strip().splitlines()
                result = Result(step.scenario, peer.name, peer.version, parameters, violations={"failed": 1}, shown=lines[-1:])
            run.results.append(result)
            bars.end()


def new_run(seed: int) -> Run:
    return Run(machine.describe(), "python -m loadtest " + shlex.join(sys.argv[1:]), seed)
