"""The checker sees each violation when it is planted, and nothing where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cluster.lab.checker import check
from tests.cluster.lab.record import (
    Absent,
    Connection,
    Delivered,
    Record,
    Removed,
    Reset,
    Revoked,
    Sent,
    Stored,
    Subscribed,
    body_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

ROOM, ANNA, BERT = "room", "anna", "bert"


class World:
    """A run in which all is well: Anna sends three messages on node n0, Bert gets them on n1."""

    def __init__(self) -> None:
        self.stored = [Stored(ROOM, seq, f"a-{seq}", ANNA, body_of(f"a-{seq}", 20)) for seq in (1, 2, 3)]
        self.record = Record(seed=1, started_s=0.0, finished_s=100.0)
        self.sent = self.record.sent
        for seq in (1, 2, 3):
            self.sent.append(Sent(0, seq, ANNA, ROOM, f"a-{seq}", float(seq), seq + 0.5, "ok", seq))
        self.anna = Connection(0, 0, ANNA, 0.1, "n0", 0.2, 0.3)
        self.bert = Connection(1, 1, BERT, 0.1, "n1", 0.2, 0.3)
        self.record.connections += [self.anna, self.bert]
        for connection in self.record.connections:
            connection.items.append(Subscribed(ROOM, 0.3, 0, 0, False, []))
            connection.items += [Delivered(ROOM, seq + 0.6, seq, f"a-{seq}") for seq in (1, 2, 3)]
        self.revoked: list[Revoked] = []

    def kinds(self) -> set[str]:
        return {violation.kind for violation in check(self.record, self.stored, self.revoked)}


def lose(world: World) -> None:
    del world.stored[2]


def lose_amid(world: World) -> None:
    del world.stored[1]


def store_twice(world: World) -> None:
    world.stored.append(Stored(ROOM, 4, "a-3", ANNA, world.stored[2].body))


def store_what_nobody_sent(world: World) -> None:
    world.stored.append(Stored(ROOM, 4, "a-9", ANNA, body_of("a-9", 20)))


def store_what_was_refused(world: World) -> None:
    world.sent.append(Sent(0, 4, ANNA, ROOM, "a-4", 5.0, 5.1, "fail", code="forbidden"))
    world.stored.append(Stored(ROOM, 4, "a-4", ANNA, body_of("a-4", 20)))


def store_another_text(world: World) -> None:
    world.stored[1].body = body_of("a-1", 20)


def store_for_somebody_else(world: World) -> None:
    world.stored[1].actor = BERT


def ack_another_number(world: World) -> None:
    world.sent.append(Sent(0, 4, ANNA, ROOM, "a-3", 5.0, 5.1, "ok", 2, duplicate=True))


def reorder_one_client(world: World) -> None:
    for one, seq in zip(world.sent, (1, 3, 2), strict=True):
        one.seq, one.ended_s = seq, 10.0  # all in flight at once: real time says nothing
        world.stored[seq - 1].name = one.client_id
        world.stored[seq - 1].body = body_of(one.client_id, 20)
    for connection in world.record.connections:
        for item in connection.items:
            if isinstance(item, Delivered):
                item.name, item.at_s = world.stored[item.seq - 1].name, 10.0


def reorder_real_time(world: World) -> None:
    reorder_one_client(world)
    for number, one in enumerate(world.sent):
        one.connection, one.ended_s = number + 5, one.invoked_s + 0.5  # each by a client of its own


def skip(world: World) -> None:
    del world.bert.items[2]


def repeat(world: World) -> None:
    world.bert.items.insert(2, world.bert.items[1])


def swap(world: World) -> None:
    world.bert.items[1], world.bert.items[2] = world.bert.items[2], world.bert.items[1]


def miss_the_last(world: World) -> None:
    del world.bert.items[3]


def resume_with_a_hole(world: World) -> None:
    world.bert.closed_s = 2.0
    del world.bert.items[2:]
    back = Connection(2, 1, BERT, 2.5, "n2", 2.6, 2.7)
    back.items.append(Subscribed(ROOM, 4.0, 1, 3, False, [(3, "a-3")]))
    world.record.connections.append(back)


def resume_from_too_far(world: World) -> None:
    world.bert.closed_s = 2.0
    del world.bert.items[2:]
    back = Connection(2, 1, BERT, 2.5, "n2", 2.6, 2.7)
    back.items.append(Subscribed(ROOM, 4.0, 2, 3, False, [(3, "a-3")]))
    world.record.connections.append(back)


def deliver_something_else(world: World) -> None:
    world.bert.items[2] = Delivered(ROOM, 2.6, 2, "a-7")


def deliver_what_is_not_stored(world: World) -> None:
    world.bert.items.append(Delivered(ROOM, 9.0, 4, "a-4"))
    world.anna.items.append(Delivered(ROOM, 9.0, 4, "a-4"))


def deliver_before_it_was_sent(world: World) -> None:
    world.bert.items[1] = Delivered(ROOM, 0.9, 1, "a-1")


def deliver_without_subscription(world: World) -> None:
    world.bert.items.insert(0, Delivered(ROOM, 0.25, 1, "a-1"))
    world.sent[0].invoked_s = 0.2


def deliver_after_removal(world: World) -> None:
    world.revoked.append(Revoked(BERT, ROOM, 1.0, 1.0, "removed"))


def deliver_after_the_end(world: World) -> None:
    world.bert.items.insert(3, Removed(ROOM, 3.0))


def let_in_after_log_out(world: World) -> None:
    del world.bert.items[:]
    world.bert.ready_s = 5.0
    world.revoked.append(Revoked(BERT, "", 1.0, 1.0, "logged out"))


def mismatch(world: World) -> None:
    world.record.mismatches.append("asked for one room, got another")


def stay_away(world: World) -> None:
    world.record.absent.append(Absent(1, BERT, "it did not come back"))


PLANTED: list[tuple[Callable[[World], None], str]] = [
    (lose, "lost"), (lose_amid, "not_dense"), (store_twice, "doubled"), (store_what_nobody_sent, "phantom"),
    (store_what_was_refused, "phantom"), (store_another_text, "phantom"), (store_for_somebody_else, "lost"),
    (ack_another_number, "wrong_ack"), (reorder_one_client, "client_order"), (reorder_real_time, "real_time_order"),
    (skip, "gap"), (repeat, "repeat"), (swap, "gap"), (miss_the_last, "behind"), (resume_with_a_hole, "gap"),
    (resume_from_too_far, "gap"), (deliver_something_else, "disagreement"), (deliver_what_is_not_stored, "phantom"),
    (deliver_before_it_was_sent, "phantom"), (deliver_without_subscription, "not_subscribed"),
    (deliver_after_removal, "revoked"), (deliver_after_the_end, "not_subscribed"), (let_in_after_log_out, "revoked"),
    (mismatch, "wrong_answer"), (stay_away, "absent"),
]  # fmt: skip


def test_where_all_is_well_nothing_is_found() -> None:
    assert World().kinds() == set()


@pytest.mark.parametrize(("plant", "kind"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_what_is_planted_is_found(plant: Callable[[World], None], kind: str) -> None:
    world = World()
    plant(world)
    assert kind in world.kinds()


def test_orders_are_told_apart_by_what_breaks_them() -> None:
    world = World()
    reorder_one_client(world)
    assert world.kinds() == {"client_order"}
    world = World()
    reorder_real_time(world)
    assert world.kinds() == {"real_time_order"}


def resumed(world: World) -> None:
    """Away from 1 to 3, and back on another node."""
    world.bert.closed_s = 2.0
    del world.bert.items[2:]
    back = Connection(2, 1, BERT, 2.5, "n2", 2.6, 2.7)
    back.items.append(Subscribed(ROOM, 4.0, 1, 3, False, [(2, "a-2"), (3, "a-3")]))
    world.record.connections.append(back)


def told_to_read_again(world: World) -> None:
    world.bert.items[2] = Reset(ROOM, 2.6, 2)


def reset_on_subscribing(world: World) -> None:
    world.bert.closed_s = 2.0
    del world.bert.items[2:]
    back = Connection(2, 1, BERT, 2.5, "n2", 2.6, 2.7)
    back.items.append(Subscribed(ROOM, 4.0, 1, 3, True, []))
    world.record.connections.append(back)


def retried_elsewhere(world: World) -> None:
    """The ack of 3 is lost; three tries on three nodes get the same answer."""
    world.sent[2].outcome, world.sent[2].seq, world.sent[2].ended_s = "unknown", 0, 0.0
    world.sent += [Sent(7 + at, 1, ANNA, ROOM, "a-3", 4.0, 4.5, "ok", 3, duplicate=True) for at in range(3)]


def refused(world: World) -> None:
    world.sent.append(Sent(0, 4, ANNA, ROOM, "a-4", 5.0, 5.1, "fail", code="forbidden"))


def in_doubt_and_stored(world: World) -> None:
    world.sent.append(Sent(0, 4, ANNA, ROOM, "a-4", 5.0))
    world.stored.append(Stored(ROOM, 4, "a-4", ANNA, body_of("a-4", 20)))
    for connection in world.record.connections:
        connection.items.append(Delivered(ROOM, 5.1, 4, "a-4"))


def in_doubt_and_not_stored(world: World) -> None:
    world.sent.append(Sent(0, 4, ANNA, ROOM, "a-4", 5.0))


def removed_in_time(world: World) -> None:
    world.revoked.append(Revoked(BERT, ROOM, 2.0, 1.0, "removed"))
    world.bert.items[3] = Removed(ROOM, 2.9)
    world.stored.append(Stored(ROOM, 4, "member.removed", ANNA, ""))
    world.anna.items.append(Delivered(ROOM, 4.0, 4, "member.removed"))


def signed_out_for_good(world: World) -> None:
    world.revoked.append(Revoked(BERT, "", 99.0, 1.0, "logged out"))
    world.record.absent.append(Absent(1, BERT, "its session ended"))


def kinds_come_again(world: World) -> None:
    for seq, kind in ((4, "member.joined"), (5, "member.joined"), (6, "x.future"), (7, "x.future")):
        world.stored.append(Stored(ROOM, seq, kind, ANNA, ""))
        for connection in world.record.connections:
            connection.items.append(Delivered(ROOM, 5.0, seq, kind))


ALLOWED = [resumed, told_to_read_again, reset_on_subscribing, retried_elsewhere, refused, in_doubt_and_stored,
           in_doubt_and_not_stored, removed_in_time, signed_out_for_good, kinds_come_again]  # fmt: skip


@pytest.mark.parametrize("change", ALLOWED)
def test_what_is_allowed_is_not_found(change: Callable[[World], None]) -> None:
    world = World()
    change(world)
    assert check(world.record, world.stored, world.revoked) == []
