"""Who is heard, with a clock of our own."""

from __future__ import annotations

import pytest

from realtime.bus.heartbeats import FORGOTTEN_S, HEARTBEAT_S, QUIET_S, Heartbeat, Heartbeats

ANNA, BERT = b"anna....", b"bert...."


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def heartbeats(clock: Clock) -> Heartbeats:
    return Heartbeats(clock)


def test_alone_nobody_is_missing(heartbeats: Heartbeats) -> None:
    assert heartbeats.silent == 0


def test_beats_keep_a_node_heard_and_two_may_be_lost(heartbeats: Heartbeats, clock: Clock) -> None:
    heartbeats.heard(ANNA, Heartbeat.WHOLE)
    for _ in range(20):
        clock.now_s += 2.9 * HEARTBEAT_S
        assert heartbeats.silent == 0
        heartbeats.heard(ANNA, Heartbeat.WHOLE)


def test_silence_is_noticed_and_ends(heartbeats: Heartbeats, clock: Clock) -> None:
    heartbeats.heard(ANNA, Heartbeat.WHOLE)
    heartbeats.heard(BERT, Heartbeat.WHOLE)
    clock.now_s += QUIET_S
    heartbeats.heard(BERT, Heartbeat.WHOLE)
    assert heartbeats.silent == 1
    heartbeats.heard(ANNA, Heartbeat.WHOLE)
    assert heartbeats.silent == 0


def test_whoever_cannot_send_everything_counts_as_silent_at_once(heartbeats: Heartbeats, clock: Clock) -> None:
    heartbeats.heard(ANNA, Heartbeat.PARTLY)
    assert heartbeats.silent == 1
    heartbeats.heard(ANNA, Heartbeat.WHOLE)
    clock.now_s += HEARTBEAT_S
    heartbeats.heard(ANNA, Heartbeat.PARTLY)
    clock.now_s += QUIET_S
    assert heartbeats.silent == 1


def test_whoever_says_goodbye_is_not_missed(heartbeats: Heartbeats, clock: Clock) -> None:
    heartbeats.heard(ANNA, Heartbeat.WHOLE)
    heartbeats.heard(ANNA, Heartbeat.GONE)
    heartbeats.heard(BERT, Heartbeat.GONE)
    clock.now_s += QUIET_S
    assert heartbeats.silent == 0


def test_the_dead_are_not_waited_for_for_ever(heartbeats: Heartbeats, clock: Clock) -> None:
    heartbeats.heard(ANNA, Heartbeat.WHOLE)
    clock.now_s += FORGOTTEN_S - 1
    assert heartbeats.silent == 1
    clock.now_s += 1
    assert heartbeats.silent == 0


def test_a_node_that_says_of_itself_what_only_newer_nodes_know_lives_and_may_not_be_heard_whole(heartbeats: Heartbeats) -> None:
    heartbeats.heard(ANNA, 7)
    assert (heartbeats.known, heartbeats.silent) == (True, 1)
    heartbeats.heard(ANNA, Heartbeat.WHOLE)
    assert heartbeats.silent == 0
