"""What a record says in numbers. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tests.cluster.lab.record import Connection, Delivered, Period, Record, Reset, Sent, Subscribed

BUCKET_S = 0.5

REMOVED = ("room_not_found", "not_a_member")
"""What somebody gets who was removed from a room and does not know it yet."""


class Delivery(NamedTuple):
    """A message that was tried once, on its way to one connection."""

    invoked_s: float
    latency_s: float
    cross: bool  # from one node to another


class Bucket(NamedTuple):
    """Half a second of a run. Latencies in seconds, by the time of the send; negative: nothing was sent."""

    at_s: float
    sent: int
    acked: int
    delivered: int
    live: int
    p50_s: float
    p99_s: float
    max_s: float


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share does not exceed; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def deliveries(record: Record) -> list[Delivery]:
    """Every live delivery of a message that was tried once, to somebody who reads.

    Of what was tried again it is not known which try was stored.
    """
    tries: dict[tuple[str, str], list[Sent]] = defaultdict(list)
    for one in record.sent:
        tries[one.room, one.client_id].append(one)
    node = {connection.number: connection.node for connection in record.connections}
    found = []
    for connection in record.connections:
        missed = caught_up(connection)
        for item in connection.items:
            if isinstance(item, Delivered) and not 0 < connection.stopped_s <= item.at_s:
                made = tries.get((item.room, item.name), ())
                if len(made) == 1 and made[0].invoked_s >= missed.get(item.room, 0.0):
                    cross = node[made[0].connection] != connection.node
                    found.append(Delivery(made[0].invoked_s, item.at_s - made[0].invoked_s, cross))
    return found


def caught_up(connection: Connection) -> dict[str, float]:
    """Return for each room of which events were missed when the last of them had come; inf: not all of them did."""
    wanted: dict[str, int] = {}
    found: dict[str, float] = {}
    for item in connection.items:
        if isinstance(item, Subscribed) and item.behind:
            wanted[item.room] = item.head_seq + item.behind
            found[item.room] = math.inf
        elif isinstance(item, Delivered | Reset) and _reaches(item, wanted.get(item.room, math.inf)):
            del wanted[item.room]
            found[item.room] = item.at_s
    return found


def cross_latencies(found: Iterable[Delivery], from_s: float, to_s: float) -> list[float]:
    """Latencies between nodes, of what was sent in a span of time."""
    return [one.latency_s for one in found if one.cross and from_s <= one.invoked_s < to_s]


def _reaches(item: Delivered | Reset, seq: float) -> bool:
    return seq < math.inf and (isinstance(item, Reset) or item.seq >= seq)


def resumes(connections: Iterable[Connection], from_s: float, to_s: float) -> list[float]:
    """For each client whose subscribed connection ended in a span: how long until it was subscribed again and had what it had
    missed, inf: never.
    """
    by_client: dict[int, list[Connection]] = defaultdict(list)
    for connection in connections:
        if connection.subscribed_s:
            by_client[connection.client].append(connection)
    found = []
    for mine in by_client.values():
        mine.sort(key=lambda one: one.subscribed_s)
        for at, one in enumerate(mine):
            if one.closed_s and from_s <= one.closed_s < to_s:
                found.append(_complete_s(mine[at + 1]) - one.closed_s if at + 1 < len(mine) else math.inf)
    return found


def _complete_s(connection: Connection) -> float:
    """When it had all that was missed. What it did not get because it ended too is for the next one."""
    missed = [at_s for at_s in caught_up(connection).values() if at_s < math.inf or not connection.closed_s]
    return max([connection.subscribed_s, *missed])


def answers(sent: Iterable[Sent]) -> list[float]:
    """How long the answers to single tries took."""
    return [one.ended_s - one.invoked_s for one in sent if one.ended_s]


def unanswered(sent: Iterable[Sent], patience_s: float, connections: Sequence[Connection]) -> int:
    """How many tries got no answer in time although their connection lived on."""
    closed_s = {connection.number: connection.closed_s or math.inf for connection in connections}
    return sum(
        not (one.ended_s and one.ended_s - one.invoked_s <= patience_s) and closed_s[one.connection] > one.invoked_s + patience_s
        for one in sent
    )


def counts(record: Record) -> dict[str, float]:
    """Count what happened."""
    requests = {(one.room, one.client_id) for one in record.sent}
    ok = {(one.room, one.client_id) for one in record.sent if one.outcome == "ok"}
    return {
        "messages": len(requests),
        "acked": len(ok),
        "tries": len(record.sent),
        "unknown": sum(one.outcome == "unknown" for one in record.sent),
        "failed": sum(one.outcome == "fail" for one in record.sent),
        "failed_otherwise": sum(one.outcome == "fail" and one.code not in REMOVED for one in record.sent),
        "deliveries": sum(isinstance(item, Delivered) for connection in record.connections for item in connection.items),
        "connections": len(record.connections),
    }


def buckets(record: Record, found: Sequence[Delivery]) -> list[Bucket]:
    """Cut a run into half seconds."""
    count = max(1, math.ceil((record.finished_s - record.started_s) / BUCKET_S))

    def at(seconds: float) -> int:
        return min(count - 1, max(0, int((seconds - record.started_s) / BUCKET_S)))

    sent, acked, delivered, live = ([0] * count for _ in range(4))
    latencies: list[list[float]] = [[] for _ in range(count)]
    for one in record.sent:
        sent[at(one.invoked_s)] += 1
        if one.outcome == "ok":
            acked[at(one.ended_s)] += 1
    for connection in record.connections:
        for item in connection.items:
            if isinstance(item, Delivered):
                delivered[at(item.at_s)] += 1
        if connection.subscribed_s:
            live[at(connection.subscribed_s)] += 1
            if connection.closed_s:
                live[at(connection.closed_s)] -= 1
    for delivery in found:
        latencies[at(delivery.invoked_s)].append(delivery.latency_s)
    total, made = 0, []
    for index in range(count):
        total += live[index]
        mine = latencies[index]
        three = (percentile(mine, 0.5), percentile(mine, 0.99), max(mine)) if mine else (-1.0, -1.0, -1.0)
        made.append(Bucket(index * BUCKET_S, sent[index], acked[index], delivered[index], total, *three))
    return made


def figures(record: Record, periods: Sequence[Period]) -> dict[str, float]:
    """Everything that a scenario may have a bound for; seconds end in `_s`, times since a fault's end in `after`."""
    found = deliveries(record)
    began_s = min((period.began_s for period in periods), default=record.finished_s)
    ended_s = max((period.ended_s for period in periods), default=record.finished_s)
    back = resumes(record.connections, began_s - 0.01, record.finished_s)
    values = {
        "cross_p99_before_s": percentile(cross_latencies(found, record.started_s, began_s), 0.99),
        "cross_p99_during_s": percentile(cross_latencies(found, began_s, ended_s), 0.99),
        "cross_p99_after_3s_s": percentile(cross_latencies(found, ended_s + 3, record.finished_s), 0.99),
        "answer_p99_s": percentile(answers(record.sent), 0.99),
        "answer_max_s": max(answers(record.sent), default=math.nan),
        "lost_connections": float(len(back)),
        "resume_p99_s": percentile(back, 0.99),
        "resume_max_s": max(back, default=math.nan),
        **counts(record),
    }
    return {name: value for name, value in values.items() if not math.isnan(value)}
