"""The figures to reach, and whether a run reached them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report.compare import FLOOR, NATS, NODE, OURS, Figures

if TYPE_CHECKING:
    from collections.abc import Callable

_FLAT = (100, 1000, 10_000)


@dataclass(frozen=True, slots=True)
class Target:
    """One figure to reach.

    Args:
        text: What is measured.
        goal: The number to reach.
        unit: `×` for a ratio to a peer's.
        measure: Takes it from the medians; None where it was not measured.
        at_most: Whether less is better.
    """

    text: str
    goal: float
    unit: str
    measure: Callable[[Figures], float | None]
    at_most: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what was measured."""

    target: Target
    measured: float | None

    @property
    def reached(self) -> bool | None:
        """Return whether it was reached; None where it was not measured."""
        if self.measured is None:
            return None
        return self.measured <= self.target.goal if self.target.at_most else self.measured >= self.target.goal

    @property
    def text(self) -> str:
        """Say it in a few words."""
        if self.measured is None:
            return "not measured"
        if self.reached:
            return "reached"
        away = self.measured / self.target.goal - 1 if self.target.at_most else 1 - self.measured / self.target.goal
        return f"missed by {away:.0%}"


def judge(figures: Figures) -> list[Verdict]:
    """Hold every target against a run."""
    return [Verdict(target, target.measure(figures)) for target in TARGETS]


def _ours(scenario: str, name: str, size: int | None = None) -> Callable[[Figures], float | None]:
    return lambda figures: figures.value(OURS, scenario, name, size)


def _against(peer: str, scenario: str, name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(scenario, name, peer)


def _spread(name: str) -> Callable[[Figures], float | None]:
    """Return how far the highest cost lies above the lowest, over rooms of different sizes."""

    def measure(figures: Figures) -> float | None:
        costs = [figures.value(OURS, "fanout", name, size) for size in _FLAT]
        known = [cost for cost in costs if cost is not None]
        return max(known) / min(known) if len(known) == len(_FLAT) else None

    return measure


TARGETS = (
    Target("authenticated connect, CPU, against Node's bare connect", 0.75, "×", _against(NODE, "connect", "connect_cpu_us")),
    Target("authenticated connects on one core", 4000, "1/s", _ours("connect", "connects_per_cpu_s"), at_most=False),
    Target("memory per idle authenticated connection, user space", 4, "KiB", _ours("connect", "memory_kib")),
    Target("idle: 10,000 connections with heartbeats", 2, "% of a core", _ours("idle", "idle_cpu_percent", 10_000)),
    Target(
        "send + committed ack, one in flight each, CPU, against Node's echo in memory", 1.25, "×",
        _against(NODE, "request", "request_cpu_us"),
    ),
    Target("the same, pipelined, against Node's", 0.6, "×", _against(NODE, "request", "pipelined_cpu_us")),
    Target("committed messages, pipelined, on one node", 20_000, "1/s", _ours("request", "pipelined_per_s"), at_most=False),
    Target("delivery of a lone message to 1,000 members, CPU, against C", 1.2, "×", _against(FLOOR, "fanout", "lone_cpu_us")),
    Target("delivery in bursts, CPU, against NATS", 0.6, "×", _against(NATS, "fanout", "burst_cpu_us")),
    Target("delivery in bursts, CPU, against Node", 1 / 15, "×", _against(NODE, "fanout", "burst_cpu_us")),
    Target("deliveries in bursts on one core", 1_200_000, "1/s", _ours("fanout", "deliveries_per_cpu_s", 1000), at_most=False),
    Target("cost per lone delivery, 100 → 10,000 members: highest over lowest", 1.2, "×", _spread("lone_cpu_us")),
    Target("cost per delivery in bursts, 100 → 10,000 members: highest over lowest", 1.2, "×", _spread("burst_cpu_us")),
    Target("10,000 clients dropped at once: all back, resumed and caught up", 10, "s", _ours("storm", "storm_s", 10_000)),
    Target("database queries per hundred resumes", 2, "", _ours("storm", "storm_queries_per_100", 10_000)),
    Target("lag of the event loop during that, p99", 100, "ms", _ours("storm", "storm_lag_p99_ms", 10_000)),
    Target("p99 send → delivered at 2,000 messages/s over 200 rooms of 10", 25, "ms", _ours("chat", "chat_p99_ms")),
    Target("100 stopped readers among 2,000: p99 of the others, with / without", 1.2, "×", _ours("slow", "slow_p99_ratio", 2000)),
    Target("and the memory that they cost", 100, "MiB", _ours("slow", "slow_memory_mib", 2000)),
)  # fmt: skip
