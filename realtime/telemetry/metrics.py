"""Prometheus metrics, in a registry that is handed around and not a global."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, exposition

from realtime.telemetry.counts import Counts, Durations

_FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


_SLOW_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 300)


class Metrics:
    """What a node counts. Names follow the Prometheus conventions; times are in seconds."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.connections = Gauge("realtime_connections", "Live authenticated connections.", registry=registry)
        self.rooms = Gauge("realtime_rooms", "Rooms with a feed on this node.", registry=registry)
        self.requests = Counts(
            "realtime_requests", "Socket requests, by event and outcome.", ["event", "outcome"], registry=registry
        )
        self.request_seconds = Durations(
            "realtime_request_seconds", "Time from a socket request to its answer.", "event", _FAST_S, registry=registry
        )
        self.http = Histogram(
            "realtime_http_seconds", "REST requests.", ["method", "route", "status"], buckets=_FAST_S, registry=registry
        )
        self.flush_entries = Histogram(
            "realtime_flush_entries", "Entries in one commit.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500), registry=registry
        )
        self.flush_seconds = Histogram("realtime_flush_seconds", "Time of one commit.", buckets=_FAST_S, registry=registry)
        self.writer_waiting = Gauge("realtime_writer_waiting", "Entries that wait for a commit.", registry=registry)
        self.deliveries = Counter("realtime_deliveries", "Events written to connections.", registry=registry)
        self.repaired = Counter("realtime_feed_repaired_events", "Events read from the store to fill holes.", registry=registry)
        self.closed = Counter("realtime_closed", "Connections closed, by reason.", ["reason"], registry=registry)
        self.bus_refused = Counter(
            "realtime_bus_refused", "Bus payloads that were not taken, by reason.", ["reason"], registry=registry
        )
        self.bus_deaf = Counter("realtime_bus_deaf_seconds", "Time in which a Redis server was not heard.", registry=registry)
        self.bus_round_trip = Histogram(
            "realtime_bus_round_trip_seconds", "Time of a probe through Redis and back.", buckets=_FAST_S, registry=registry
        )
        self.feed_lag = Histogram(
            "realtime_feed_lag_seconds", "Age of events that were read from the store to fill holes.", buckets=_SLOW_S,
            registry=registry,
        )  # fmt: skip
        self.bus_dropped = Counter("realtime_bus_dropped", "Publishes dropped because Redis was away.", registry=registry)
        self.bus_healthy = Gauge("realtime_bus_healthy", "1 while the bus carries.", registry=registry)
        self.database_seconds = Histogram(
            "realtime_database_seconds", "Time of one use of a database connection, with the wait for it.", buckets=_FAST_S,
            registry=registry,
        )  # fmt: skip
        self.database_healthy = Gauge("realtime_database_healthy", "1 unless PostgreSQL is known to be away.", registry=registry)
        self.database_healthy.set(1)
        self.loop_lag = Histogram(
            "realtime_loop_lag_seconds", "How late the event loop runs.", buckets=_FAST_S, registry=registry
        )

    def flushed(self, entries: int, seconds: float) -> None:
        self.flush_entries.observe(entries)
        self.flush_seconds.observe(seconds)

    def delivered(self, events: int, recipients: int) -> None:
        self.deliveries.inc(events * recipients)

    def repaired_from_store(self, events: int, age_s: float) -> None:
        self.repaired.inc(events)
        self.feed_lag.observe(age_s)

    def requested(self, event: str, outcome: str, seconds: float) -> None:
        self.requests.add((event, outcome))
        self.request_seconds.observe(event, seconds)

    def observed(self, method: str, route: str, status: int, seconds: float) -> None:
        self.http.labels(method, route, str(status)).observe(seconds)

    def render(self) -> tuple[bytes, str]:
        """Return the page for Prometheus and its content type."""
        return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST
