"""Prometheus metrics, in a registry that is handed around and not a global.

Names follow the Prometheus conventions. Every label has a bounded set of values: what clients make up never becomes one.
`docs/metrics.md` is written from this module.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, exposition

import realtime
from realtime.telemetry.counts import Counts, Durations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from prometheus_client.registry import Collector

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SLOW_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)
_ENTRIES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Described(NamedTuple):
    """A metric, for the documentation: `name` as it is exposed."""

    name: str
    kind: str
    labels: Sequence[str]
    meaning: str


class Metrics:
    """What a node counts; times are in seconds.

    Attributes:
        catalogue: All of them.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.catalogue: list[Described] = []
        self._build = Info("roomwire_build", "What runs here.", registry=self.registry)
        self._describe("roomwire_build_info", "gauge", ["version", "schema"], "1, with the version and the newest migration.")
        self._process = ProcessCollector(registry=self.registry)

        # Connections
        self.connections = self._gauge("connections", "Live authenticated connections.")
        self.sessions = self._gauge("sessions", "Engine.IO sessions, authenticated or not yet.", ["transport"])
        self.users = self._gauge("users", "Users with a connection here.")
        self.rooms = self._gauge("rooms", "Rooms with a feed on this node.")
        self.subscriptions = self._gauge("subscriptions", "Rooms that connections receive, added up.")
        self.closed = self._counter("closed", "Connections closed, by reason.", ["reason"])

        # Requests
        self.requests = self._counts(
            "requests", "Socket requests, by event and outcome: ok or the error's code.", "event", "outcome"
        )
        self.request_seconds = self._durations("request_seconds", "Time from a socket request to its answer.", "event")
        self.http = self._histogram("http_seconds", "REST requests.", _FAST_S, ["method", "route", "status"])
        self.passwords_waiting = self._gauge("passwords_waiting", "Passwords that are being checked or wait for it.")

        # Messages
        self.flush_entries = self._histogram("flush_entries", "Entries in one commit.", _ENTRIES)
        self.flush_seconds = self._histogram("flush_seconds", "Time of one commit.", _FAST_S)
        self.writer_waiting = self._gauge("writer_waiting", "Entries that wait for a commit.")
        self.deliveries = self._counter("deliveries", "Events written to connections.")
        self.repaired = self._counter("feed_repaired_events", "Events read from the store to fill holes.")
        self.feed_lag = self._histogram("feed_lag_seconds", "Age of events that were read from the store to fill holes.", _SLOW_S)
        self.feeds_waiting = self._gauge("feeds_waiting", "Rooms in which frames wait for others that have not arrived.")

        # The bus
        self.bus_healthy = self._gauge("bus_healthy", "1 while the bus carries.")
        self.bus_unheard = self._gauge(
            "bus_unheard_rooms", "Rooms that are read from the store, since Redis does not carry them."
        )
        self.bus_silent = self._gauge(
            "bus_silent_nodes", "Nodes that may live and are not heard: their rooms are read from the store."
        )
        self.bus_deaf = self._counter("bus_deaf_seconds", "Time in which a Redis server was not heard.")
        self.bus_round_trip = self._histogram("bus_round_trip_seconds", "Time of a probe through Redis and back.", _FAST_S)
        self.bus_waiting = self._gauge("bus_waiting", "Publishes that wait to be sent to Redis.")
        self.bus_dropped = self._counter("bus_dropped", "Publishes dropped because Redis was away.")
        self.bus_refused = self._counter("bus_refused", "Bus payloads that were not taken, by reason.", ["reason"])

        # The store
        self.database_healthy = self._gauge("database_healthy", "1 unless PostgreSQL is known to be away.")
        self.database_healthy.set(1)
        self.database_away = self._counter("database_away_seconds", "Time in which PostgreSQL was known to be away.")
        self.database_seconds = self._histogram(
            "database_seconds", "Time of one use of a database connection, with the wait for it.", _FAST_S
        )
        self.database_refused = self._counter(
            "database_refused", "Statements that PostgreSQL did not carry out for want of something: 53100 is a full disk.",
            ["sqlstate"],
        )  # fmt: skip
        self.database_connections = self._gauge("database_connections", "Connections to PostgreSQL.", ["state"])

        # Others' servers
        self.outbound_requests = self._counter(
            "outbound_requests", "Requests to URLs that others named, by purpose and outcome: ok or why there is no answer.",
            ["purpose", "outcome"],
        )  # fmt: skip
        self.outbound_seconds = self._histogram("outbound_seconds", "Time of such requests.", _SLOW_S, ["purpose"])
        self.outbound_busy = self._gauge("outbound_busy", "Such requests that are being made.")

        # Foreign bytes
        self.sandbox_tasks = self._counter(
            "sandbox_tasks", "Tasks of the sandbox, by name and outcome: ok or why there is no answer.", ["task", "outcome"]
        )
        self.sandbox_seconds = self._histogram("sandbox_seconds", "Time of such tasks.", _SLOW_S, ["task"])
        self.sandbox_starts = self._counter("sandbox_starts", "Processes of the sandbox that were started.")
        self.sandbox_processes = self._gauge("sandbox_processes", "Processes of the sandbox.")
        self.sandbox_waiting = self._gauge("sandbox_waiting", "Tasks of the sandbox that wait for a process.")

        # Consumers of the log
        self.consumer_events = self._counter(
            "consumer_events", "Events that a consumer of the log has worked through.", ["consumer", "shard"]
        )
        self.consumer_batches = self._counter("consumer_batches", "Transactions in which it did so.", ["consumer", "shard"])
        self.consumer_lag_events = self._gauge(
            "consumer_lag_events", "Events that it has not worked through, 10,000 at most, where a shard is held.",
            ["consumer", "shard"],
        )  # fmt: skip
        self.consumer_lag_seconds = self._gauge(
            "consumer_lag_seconds", "Age of the first of them; a transaction that is open for long holds all of them back.",
            ["consumer", "shard"],
        )  # fmt: skip

        # The process
        self.loop_lag = self._histogram("loop_lag_seconds", "How late the event loop runs.", _FAST_S)
        self.task_failures = self._counter(
            "task_failures", "Failures of background tasks; `callback`: of something that nobody handled.", ["task"]
        )
        self.tasks_in_trouble = self._gauge(
            "tasks_in_trouble", "Background tasks that have been failing for a while, hang, or have ended."
        )

    # -- making them ------------------------------------------------------------------------------

    def _describe(self, name: str, kind: str, labels: Sequence[str], meaning: str) -> None:
        self.catalogue.append(Described(name, kind, labels, meaning))

    def _gauge(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Gauge:
        self._describe(f"roomwire_{name}", "gauge", labels, meaning)
        return Gauge(f"roomwire_{name}", meaning, labels, registry=self.registry)

    def _counter(self, name: str, meaning: str, labels: Sequence[str] = ()) -> Counter:
        self._describe(f"roomwire_{name}_total", "counter", labels, meaning)
        return Counter(f"roomwire_{name}", meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
        self._describe(f"roomwire_{name}", "histogram", labels, meaning)
        return Histogram(f"roomwire_{name}", meaning, labels, buckets=buckets, registry=self.registry)

    def _counts(self, name: str, meaning: str, *labels: str) -> Counts:
        self._describe(f"roomwire_{name}_total", "counter", labels, meaning)
        return Counts(f"roomwire_{name}", meaning, labels, registry=self.registry)

    def _durations(self, name: str, meaning: str, label: str) -> Durations:
        self._describe(f"roomwire_{name}", "histogram", [label], meaning)
        return Durations(f"roomwire_{name}", meaning, label, _FAST_S, registry=self.registry)

    # -- counting ---------------------------------------------------------------------------------

    def built(self, schema: str) -> None:
        """Say which version runs on which schema."""
        self._build.info({"version": realtime.__version__, "schema": schema})

    @staticmethod
    def read(gauge: Gauge, read: Callable[[], float]) -> None:
        """Take a gauge's value from a function whenever somebody asks."""
        gauge.set_function(read)

    @staticmethod
    def read_each(gauge: Gauge, reads: Mapping[str, Callable[[], float]]) -> None:
        """The same for a gauge with one label, by its values."""
        for value, read in reads.items():
            gauge.labels(value).set_function(read)

    def flushed(self, entries: int, seconds: float) -> None:
        self.flush_entries.observe(entries)
        self.flush_seconds.observe(seconds)

    def delivered(self, events: int, recipients: int) -> None:
        self.deliveries.inc(events * recipients)

    def repaired_from_store(self, events: int, age_s: float) -> None:
        self.repaired.inc(events)
        self.feed_lag.observe(age_s)

    def consumed(self, consumer: str, shard: int, events: int) -> None:
        self.consumer_events.labels(consumer, str(shard)).inc(events)
        self.consumer_batches.labels(consumer, str(shard)).inc()

    def consumer_lag(self, consumer: str, shard: int, lag: tuple[int, float] | None) -> None:
        """Show how far a consumer is behind; None: another node shows it."""
        for gauge, value in zip((self.consumer_lag_events, self.consumer_lag_seconds), lag or (None, None), strict=True):
            if value is None:
                with contextlib.suppress(KeyError):
                    gauge.remove(consumer, str(shard))
            else:
                gauge.labels(consumer, str(shard)).set(value)

    def requested(self, event: str, outcome: str, seconds: float) -> None:
        self.requests.add((event, outcome))
        self.request_seconds.observe(event, seconds)

    def asked(self, purpose: str, outcome: str, seconds: float) -> None:
        self.outbound_requests.labels(purpose, outcome).inc()
        self.outbound_seconds.labels(purpose).observe(seconds)

    def sandboxed(self, task: str, outcome: str, seconds: float) -> None:
        self.sandbox_tasks.labels(task, outcome).inc()
        self.sandbox_seconds.labels(task).observe(seconds)

    def observed(self, method: str, route: str, status: int, seconds: float) -> None:
        self.http.labels(method, route, str(status)).observe(seconds)

    def by_label(self, counter: Collector, at: int = 0) -> dict[str, int]:
        """Add a counter's samples up by the value of its label at this place."""
        found: dict[str, int] = {}
        for family in counter.collect():
            for sample in family.samples:
                if sample.name.endswith("_total"):
                    value = list(sample.labels.values())[at]
                    found[value] = found.get(value, 0) + int(sample.value)
        return found

    def memory_bytes(self) -> int | None:
        """How much memory this process has, where the system tells."""
        for family in self._process.collect():
            if family.name == "process_resident_memory_bytes":
                return int(family.samples[0].value)
        return None

    def render(self) -> tuple[bytes, str]:
        """Return the page for Prometheus and its content type."""
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST
