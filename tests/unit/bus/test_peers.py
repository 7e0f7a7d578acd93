"""Who is heard, with a clock of our own."""

from __future__ import annotations

import pytest

from realtime.bus.peers import BEAT_S, FORGOTTEN_S, QUIET_S, Beat, Peers

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
def peers(clock: Clock) -> Peers:
    return Peers(clock)


def test_alone_nobody_is_missing(peers: Peers) -> None:
    assert peers.silent == 0


def test_beats_keep_a_node_heard_and_two_may_be_lost(peers: Peers, clock: Clock) -> None:
    peers.heard(ANNA, Beat.WHOLE)
    for _ in range(20):
        clock.now_s += 2.9 * BEAT_S
        assert peers.silent == 0
        peers.heard(ANNA, Beat.WHOLE)


def test_silence_is_noticed_and_ends(peers: Peers, clock: Clock) -> None:
    peers.heard(ANNA, Beat.WHOLE)
    peers.heard(BERT, Beat.WHOLE)
    clock.now_s += QUIET_S
    peers.heard(BERT, Beat.WHOLE)
    assert peers.silent == 1
    peers.heard(ANNA, Beat.WHOLE)
    assert peers.silent == 0


def test_whoever_cannot_send_everything_counts_as_silent_at_once(peers: Peers, clock: Clock) -> None:
    peers.heard(ANNA, Beat.PARTLY)
    assert peers.silent == 1
    peers.heard(ANNA, Beat.WHOLE)
    clock.now_s += BEAT_S
    peers.heard(ANNA, Beat.PARTLY)
    clock.now_s += QUIET_S
    assert peers.silent == 1


def test_whoever_says_goodbye_is_not_missed(peers: Peers, clock: Clock) -> None:
    peers.heard(ANNA, Beat.WHOLE)
    peers.heard(ANNA, Beat.GONE)
    peers.heard(BERT, Beat.GONE)
    clock.now_s += QUIET_S
    assert peers.silent == 0


def test_the_dead_are_not_waited_for_for_ever(peers: Peers, clock: Clock) -> None:
    peers.heard(ANNA, Beat.WHOLE)
    clock.now_s += FORGOTTEN_S - 1
    assert peers.silent == 1
    clock.now_s += 1
    assert peers.silent == 0


def test_what_is_no_beat_is_refused(peers: Peers) -> None:
    with pytest.raises(ValueError, match="7"):
        peers.heard(ANNA, 7)
    assert peers.silent == 0
