"""Holds a record against the promises (DESIGN §2). Pure: a record and the log in, violations out.

What it cannot see is written in docs/reliability.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tests.cluster.lab.record import Absent, Connection, Delivered, Record, Removed, Reset, Revoked, Sent, Stored, Subscribed

MESSAGE = "message.created"


class Violation(NamedTuple):
    """One promise that was broken. `at_s` is when it showed, 0 when it has no time."""

    kind: str
    text: str
    at_s: float = 0.0


class Log:
    """The stored events of all rooms, in the forms in which they are asked for."""

    def __init__(self, stored: Iterable[Stored]) -> None:
        self.rooms: dict[str, list[Stored]] = defaultdict(list)
        for row in stored:
            self.rooms[row.room].append(row)
        for rows in self.rooms.values():
            rows.sort(key=lambda row: row.seq)
        self.names = {(row.room, row.seq): row.name for rows in self.rooms.values() for row in rows}
        self.by_request: dict[tuple[str, str, str], list[Stored]] = defaultdict(list)
        for rows in self.rooms.values():
            for row in rows:
                self.by_request[row.room, row.actor, row.name].append(row)

    def head(self, room: str) -> int:
        rows = self.rooms.get(room)
        return rows[-1].seq if rows else 0


def check(record: Record, stored: Sequence[Stored], revoked: Sequence[Revoked] = ()) -> list[Violation]:
    """Return everything that is wrong.

    Args:
        record: What the load saw.
        stored: The whole log of the rooms that it used.
        revoked: Entitlements that ended during the run.
    """
    log = Log(stored)
    return [
        *dense(log),
        *doubled(log),
        *acked(record.sent, log),
        *phantoms(record, log),
        *client_order(record.sent),
        *real_time_order(record.sent),
        *streams(record.connections, log, record.finished_s, {(one.user, one.room) for one in revoked}),
        *absent(record.absent, revoked),
        *after_revocation(record.connections, revoked),
        *(Violation("wrong_answer", text) for text in record.mismatches),
    ]


def dense(log: Log) -> Iterator[Violation]:
    """A room's seqs are 1, 2, 3 ... without a hole."""
    for room, rows in log.rooms.items():
        for expected, row in enumerate(rows, 1):
            if row.seq != expected:
                yield Violation("not_dense", f"room {room} has {row.seq} where {expected} belongs")
                break


def doubled(log: Log) -> Iterator[Violation]:
    """No client_id is stored twice."""
    for (room, actor, name), rows in log.by_request.items():
        if len(rows) > 1 and not _is_kind(name):
            yield Violation("doubled", f"{name} of {actor} is in room {room} as {[row.seq for row in rows]}")


def acked(sent: Iterable[Sent], log: Log) -> Iterator[Violation]:
    """What was acked is stored, under the number that every ack of it told."""
    for one in sent:
        if one.outcome != "ok":
            continue
        rows = log.by_request.get((one.room, one.user, one.client_id), [])
        if not rows:
            yield Violation("lost", f"{one.client_id} was acked as {one.seq} and is not in room {one.room}", one.ended_s)
        elif one.seq not in [row.seq for row in rows]:
            yield Violation(
                "wrong_ack", f"{one.client_id} was acked as {one.seq} and is {rows[0].seq} in room {one.room}", one.ended_s
            )


def phantoms(record: Record, log: Log) -> Iterator[Violation]:
    """Nothing is stored that nobody sent, that was sent otherwise, or that was refused for good."""
    tries: dict[tuple[str, str, str], list[Sent]] = defaultdict(list)
    for one in record.sent:
        tries[one.room, one.user, one.client_id].append(one)
    for request, rows in log.by_request.items():
        room, actor, name = request
        if _is_kind(name):
            continue
        made = tries.get(request)
        if made is None:
            yield Violation("phantom", f"{name} of {actor} is in room {room} and was never sent")
        elif all(one.outcome == "fail" for one in made):
            yield Violation("phantom", f"{name} was refused ({made[0].code}) and is in room {room}", made[0].ended_s)
        elif not all(row.body.startswith(f"{name} ") for row in rows):
            yield Violation("phantom", f"{name} in room {room} has the text of something else")
    first_s = {request[0::2]: min(one.invoked_s for one in made) for request, made in tries.items()}
    for connection in record.connections:
        for item in connection.items:
            if isinstance(item, Delivered) and item.at_s < first_s.get((item.room, item.name), 0.0):
                yield Violation("phantom", f"{item.name} was delivered before it was sent", item.at_s)


def client_order(sent: Iterable[Sent]) -> Iterator[Violation]:
    """Of two sends on one connection to one room the first has the lower number, unless one of them is a retry."""
    by_stream: dict[tuple[int, str], list[Sent]] = defaultdict(list)
    tries: dict[tuple[str, str, str], int] = defaultdict(int)
    for one in sent:
        by_stream[one.connection, one.room].append(one)
        tries[one.room, one.user, one.client_id] += 1
    for (_, room), stream in by_stream.items():
        firsts = [one for one in stream if one.outcome == "ok" and tries[one.room, one.user, one.client_id] == 1]
        for before, after in pairwise(sorted(firsts, key=lambda one: one.order)):
            if before.seq >= after.seq:
                yield Violation(
                    "client_order",
                    f"{before.client_id} ({before.seq}) was sent before {after.client_id} ({after.seq}) in room {room}",
                    after.ended_s,
                )


def real_time_order(sent: Iterable[Sent]) -> Iterator[Violation]:
    """What was acked before something else was first sent has the lower number, whoever sent it, on whatever node."""
    first_s: dict[tuple[str, str, str], float] = {}
    acked_s: dict[tuple[str, str, str], tuple[float, int]] = {}
    for one in sent:
        request = (one.room, one.user, one.client_id)
        first_s[request] = min(one.invoked_s, first_s.get(request, one.invoked_s))
        if one.outcome == "ok":
            acked_s[request] = min((one.ended_s, one.seq), acked_s.get(request, (one.ended_s, one.seq)))
    rooms: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for request in acked_s:
        rooms[request[0]].append(request)
    for room, requests in rooms.items():
        by_ack = sorted(requests, key=lambda request: acked_s[request][0])
        highest, at = 0, 0
        for request in sorted(requests, key=lambda request: first_s[request]):
            while acked_s[by_ack[at]][0] < first_s[request]:
                highest = max(highest, acked_s[by_ack[at]][1])
                at += 1
            if acked_s[request][1] <= highest:
                yield Violation(
                    "real_time_order",
                    f"{request[2]} has {acked_s[request][1]} in room {room}, below {highest}, which was acked before it was sent",
                    first_s[request],
                )


def streams(connections: Iterable[Connection], log: Log, finished_s: float, revoked: set[tuple[str, str]]) -> Iterator[Violation]:
    """Every client gets the log in order, without gap and repeat, or is told to read again; who stays, gets all of it."""
    held: dict[tuple[int, str], int] = {}
    for connection in sorted(connections, key=lambda one: one.opened_s):
        live: dict[str, int] = {}
        for item in connection.items:
            yield from _take(connection, item, live, held, log)
        for room, position in live.items():
            held[connection.client, room] = position
            entitled = (connection.user, room) not in revoked and (connection.user, "") not in revoked
            if not connection.closed_s and entitled and position != log.head(room):
                yield Violation(
                    "behind", f"client {connection.client} ended at {position} of {log.head(room)} in room {room}", finished_s
                )


def absent(missing: Iterable[Absent], revoked: Iterable[Revoked]) -> Iterator[Violation]:
    """Whoever may be there comes back by itself, and is not signed out by a fault."""
    signed_out = {one.user for one in revoked if not one.room}
    for one in missing:
        if one.user not in signed_out:
            yield Violation("absent", f"client {one.client}: {one.why}")


def _take(
    connection: Connection,
    item: Subscribed | Delivered | Reset | Removed,
    live: dict[str, int],
    held: dict[tuple[int, str], int],
    log: Log,
) -> Iterator[Violation]:
    where = f"client {connection.client} on node {connection.node} in room {item.room}"
    if isinstance(item, Removed):
        live.pop(item.room, None)
    elif isinstance(item, Reset):
        live[item.room] = item.head_seq
    elif isinstance(item, Subscribed):
        live[item.room] = item.head_seq
        had = held.get((connection.client, item.room))
        if had is not None and item.since is not None and item.since > had:
            yield Violation("gap", f"{where} held {had} and came back with {item.since}", item.at_s)
        if item.reset or item.since is None:
            return
        seqs = [seq for seq, _ in item.events]
        if seqs != list(range(item.since + 1, item.head_seq + 1)):
            yield Violation("gap", f"{where} asked for ({item.since}, {item.head_seq}] and got {_short(seqs)}", item.at_s)
        for seq, name in item.events:
            yield from _same(log, item.room, seq, name, where, item.at_s)
    else:
        position = live.get(item.room)
        if position is None:
            yield Violation("not_subscribed", f"{where} got {item.seq} without a subscription", item.at_s)
        elif item.seq <= position:
            yield Violation("repeat", f"{where} got {item.seq} at {position}", item.at_s)
        elif item.seq > position + 1:
            yield Violation("gap", f"{where} got {item.seq} after {position}", item.at_s)
        live[item.room] = max(item.seq, position or 0)
        yield from _same(log, item.room, item.seq, item.name, where, item.at_s)


def _same(log: Log, room: str, seq: int, name: str, where: str, at_s: float) -> Iterator[Violation]:
    stored = log.names.get((room, seq))
    if stored is None:
        yield Violation("phantom", f"{where} got {name} as {seq}, which is not stored", at_s)
    elif stored != name:
        yield Violation("disagreement", f"{where} got {name} as {seq}, which is {stored}", at_s)


def after_revocation(connections: Iterable[Connection], revoked: Iterable[Revoked]) -> Iterator[Violation]:
    """Nobody gets anything when the bound after the end of their entitlement is over."""
    by_user: dict[str, list[Revoked]] = defaultdict(list)
    for one in revoked:
        by_user[one.user].append(one)
    for connection in connections:
        for end in by_user.get(connection.user, ()):
            until_s = end.at_s + end.bound_s
            if not end.room and connection.ready_s > until_s:
                yield Violation(
                    "revoked", f"{end.why}: connected {connection.ready_s - end.at_s:.2f} s later", connection.ready_s
                )
            late = [
                item
                for item in connection.items
                if isinstance(item, (Delivered, Subscribed)) and end.room in ("", item.room) and item.at_s > until_s
            ]
            if late:
                yield Violation(
                    "revoked", f"{end.why}: got {len(late)} more, the last {late[-1].at_s - end.at_s:.2f} s later", late[-1].at_s
                )


def _is_kind(name: str) -> bool:
    """Whether an event has no client_id and goes by its kind: those are made by the server, and may come again."""
    return "." in name  # as in every kind, those of a newer release too, and in no client_id of the load


def _short(seqs: Sequence[int]) -> str:
    return str(list(seqs)) if len(seqs) <= 6 else f"{len(seqs)} events {seqs[0]}..{seqs[-1]}"
