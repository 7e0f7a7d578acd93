"""Repeated runs summed up: the median of each number, by server and scenario. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadtest.measure.stats import Figure, figure

if TYPE_CHECKING:
    from loadtest.measure.stats import Latency
    from loadtest.report.model import Result, Run

OURS = "roomwire"
NODE = "Socket.IO on Node"
NATS = "NATS over WebSocket"
FLOOR = "C loop of send()"
SIZES = ("members", "connections")


class Case(NamedTuple):
    """What was done: the scenario, and its size where that changes what a number means."""

    scenario: str
    size: int


class Figures:
    """The medians of a run."""

    def __init__(self, run: Run) -> None:
        values: dict[tuple[str, Case, str], list[float]] = {}
        self.latency: dict[tuple[str, Case], Latency] = {}
        self.versions: dict[str, str] = {}
        for result in run.results:
            case = case_of(result)
            self.versions[result.peer] = result.version
            for name, value in result.numbers.items():
                values.setdefault((result.peer, case, name), []).append(value)
            if result.latency is not None:
                self.latency.setdefault((result.peer, case), result.latency)
        self._figures = {key: figure(numbers) for key, numbers in values.items()}

    @property
    def peers(self) -> list[str]:
        """Return the servers, ours first."""
        return sorted(self.versions, key=lambda name: name != OURS)

    @property
    def cases(self) -> list[Case]:
        """Return what was done, in the order in which it was."""
        return list(dict.fromkeys(case for _, case, _ in self._figures))

    def names(self, case: Case) -> list[str]:
        """Return the numbers that a case gave."""
        return list(dict.fromkeys(name for _, one, name in self._figures if one == case))

    def get(self, peer: str, case: Case, name: str) -> Figure | None:
        return self._figures.get((peer, case, name))

    def value(self, peer: str, scenario: str, name: str, size: int | None = None) -> float | None:
        """Return a median; without a size, that of the case that most servers took part in.

        Returns:
            None when it was not measured.
        """
        sizes = [case.size for one, case, number in self._figures if (one, case.scenario, number) == (peer, scenario, name)]
        if not sizes or (size is not None and size not in sizes):
            return None
        if size is None:
            size = max(sizes, key=lambda one: len(self.peers_of(Case(scenario, one))))
        found = self.get(peer, Case(scenario, size), name)
        return found.median if found is not None else None

    def peers_of(self, case: Case) -> list[str]:
        """Return the servers that took part in a case."""
        return [peer for peer in self.peers if any(one == peer and other == case for one, other, _ in self._figures)]

    def ratio(self, scenario: str, name: str, peer: str) -> float | None:
        """Return our median over a peer's."""
        ours, theirs = self.value(OURS, scenario, name), self.value(peer, scenario, name)
        return ours / theirs if ours is not None and theirs else None


def case_of(result: Result) -> Case:
    sizes = [int(result.parameters[name]) for name in SIZES if name in result.parameters]
    return Case(result.scenario, sizes[0] if sizes else 0)
