"""What a run found, as values; and what every number means."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from loadtest.measure.stats import Latency


class Meaning(NamedTuple):
    """A number: its label, its unit, how it is measured, and whether less is better."""

    label: str
    unit: str
    text: str
    less_is_better: bool = True


MEANINGS: dict[str, Meaning] = {
    "connect_cpu_us": Meaning(
        "CPU per connect", "µs", "CPU of the server process for TCP, upgrade, handshake and (ours) the check of the token"
    ),
    "connects_per_s": Meaning(
        "connects, wall clock", "1/s", "connections opened and ready per second, as fast as the clients can", False
    ),
    "connects_per_cpu_s": Meaning("connects per core", "1/s", "the same for one second of the server's CPU", False),
    "memory_kib": Meaning(
        "memory per connection", "KiB", "growth of the server's private memory, user space, by idle connections"
    ),
    "idle_cpu_percent": Meaning("CPU while idle", "% of a core", "CPU of the server while connections only answer heartbeats"),
    "heartbeats_per_s": Meaning("heartbeats", "1/s", "heartbeats that were asked and answered meanwhile", False),
    "request_cpu_us": Meaning(
        "CPU per request", "µs", "CPU of the server process for one request and its ack; ours is a committed message"
    ),
    "request_engines_us": Meaning("PostgreSQL and Redis per request", "µs", "their CPU for the same, beside the server's"),
    "requests_per_s": Meaning("requests, wall clock", "1/s", "answered requests per second", False),
    "pipelined_cpu_us": Meaning("CPU per pipelined request", "µs", "the same with many requests in flight on each connection"),
    "pipelined_engines_us": Meaning("PostgreSQL and Redis per pipelined request", "µs", "their CPU for the same"),
    "pipelined_per_s": Meaning("pipelined requests, wall clock", "1/s", "answered requests per second", False),
    "lone_cpu_us": Meaning(
        "CPU per delivery, lone", "µs", "CPU of the server for one message to all members, divided by the members"
    ),
    "lone_ms": Meaning("lone message to all members", "ms", "from the send until the last member has it, on average"),
    "burst_cpu_us": Meaning("CPU per delivery, bursts", "µs", "the same for bursts of messages sent at once"),
    "deliveries_per_s": Meaning(
        "deliveries in bursts, wall clock", "1/s", "events received per second by all members together", False
    ),
    "deliveries_per_cpu_s": Meaning("deliveries in bursts per core", "1/s", "the same for one second of the server's CPU", False),
    "chat_cpu_percent": Meaning("CPU", "% of a core", "CPU of the server during the load"),
    "chat_engines_percent": Meaning("CPU of PostgreSQL and Redis", "% of a core", "theirs during the load"),
    "chat_p99_ms": Meaning("p99, due → delivered", "ms", "99th percentile over all deliveries, from when the message was due"),
    "chat_per_s": Meaning("messages", "1/s", "messages that were sent and acked per second", False),
    "storm_s": Meaning(
        "all back and caught up", "s", "from the first attempt to come back until the last connection had what it missed"
    ),
    "storm_cpu_ms": Meaning("CPU per resume", "ms", "CPU of the server for connecting, subscribing with `since` and catching up"),
    "storm_queries_per_100": Meaning(
        "database queries per 100 resumes", "", "growth of the server's count of queries, per hundred resumes"
    ),
    "storm_lag_p99_ms": Meaning(
        "event loop's lag, p99", "ms", "upper bound of the bucket, from the server's /metrics, during the storm"
    ),
    "storm_missed": Meaning("missed events per client", "", "events that a connection got by resuming", False),
    "slow_p99_ratio": Meaning(
        "p99 of the others, with / without", "×", "99th percentile of those that read, while 100 do not, against nobody stopping"
    ),
    "slow_p99_ms": Meaning("p99 of the others", "ms", "while 100 connections do not read"),
    "slow_memory_mib": Meaning("memory for stopped readers", "MiB", "growth of the server's private memory meanwhile"),
    "slow_closed": Meaning("stopped readers closed", "", "by the server, of those that stopped", False),
    "soak_memory_mib_per_h": Meaning(
        "growth of memory", "MiB/h", "slope of the server's private memory, without the first fifth"
    ),
    "soak_p99_ms": Meaning("p99, due → delivered", "ms", "over the whole soak"),
    "soak_cpu_percent": Meaning("CPU", "% of a core", "CPU of the server during the soak"),
}


_RENAMED = {"realtime": "roomwire"}
"""Servers that runs up to 0.2 wrote down under another name."""


@dataclass(slots=True)
class Series:
    """A line over time: (seconds, value)."""

    label: str
    unit: str
    points: list[tuple[float, float]]


@dataclass(slots=True)
class Result:
    """What one scenario found on one server."""

    scenario: str
    peer: str
    version: str
    parameters: dict[str, Any]
    numbers: dict[str, float] = field(default_factory=dict)
    latency: Latency | None = None
    series: list[Series] = field(default_factory=list)
    violations: dict[str, int] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: float | None = None
    """Share of the machine that programs took which are no part of the run; None where the server's own part is not known."""


@dataclass(slots=True)
class Run:
    """Everything that one command measured."""

    machine: dict[str, str]
    command: str
    seed: int
    results: list[Result] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Servers that could not be measured here, and why."""

    @property
    def failed(self) -> bool:
        return any(result.violations for result in self.results)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read what `to_json` wrote."""
        data = json.loads(text)
        results = []
        for one in data.pop("results"):
            latency = one.pop("latency")
            series = [
                Series(part["label"], part["unit"], [tuple(point) for point in part["points"]]) for part in one.pop("series")
            ]
            one["peer"] = _RENAMED.get(one["peer"], one["peer"])
            result = Result(**one, series=series)
            if latency is not None:
                pairs = {name: [tuple(pair) for pair in latency[name]] for name in ("at", "curve")}
                result.latency = Latency(latency["count"], latency["mean"], **pairs)
            results.append(result)
        return cls(**data, results=results)
