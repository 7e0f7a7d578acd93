"""What a pub/sub connection carries, against a server that answers in order and may take a channel away."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.bus.channels import Channels, OutOfStep


class Server:
    """Carries out commands in order; its answers arrive later, in order."""

    def __init__(self) -> None:
        self.has: set[str] = set()
        self.answers: deque[tuple[bool, str, int]] = deque()

    def take(self, channels: Channels) -> None:
        changes = channels.changes(1000)
        for subscribe, names in ((False, changes.unsubscribe), (True, changes.subscribe)) if changes else ():
            for name in names:
                self.do(subscribe, name)

    def do(self, subscribe: bool, name: str) -> None:
        (self.has.add if subscribe else self.has.discard)(name)
        self.answers.append((subscribe, name, len(self.has)))


_names = st.sampled_from("abc")
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("want"), _names),
        st.tuples(st.just("drop"), _names),
        st.tuples(st.just("send"), st.just("")),
        st.tuples(st.just("answer"), st.just("")),
        st.tuples(st.just("take away"), _names),
        st.tuples(st.just("reconnect"), st.just("")),
    ),
    max_size=60,
)


@given(_steps)
def test_what_counts_as_heard_the_server_has_until_it_says_otherwise(steps: list[tuple[str, str]]) -> None:
    channels, server = Channels(), Server()
    wanted: set[str] = set()
    away: set[str] = set()  # taken away by the server, the news still on its way

    def answer() -> None:
        if server.answers:
            subscribed, name, count = server.answers.popleft()
            if not channels.answered(subscribed, name, count):
                assert name in wanted, "only what is wanted is missed"
                away.discard(name)
                channels.want(name)

    for what, name in steps:
        if what == "want":
            wanted.add(name)
            channels.want(name)
        elif what == "drop":
            wanted.discard(name)
            channels.drop(name)
        elif what == "send":
            server.take(channels)
        elif what == "answer":
            answer()
        elif what == "take away":
            if name in server.has:
                server.do(False, name)
                away.add(name)
        else:
            server.has.clear()
            server.answers.clear()
            away.clear()
            assert channels.connected() == wanted
        for one in "abc":
            if channels.hears(one):
                assert one in server.has or one in away
    for _ in range(10):
        server.take(channels)
        while server.answers:
            answer()
    assert server.has == wanted
    assert {one for one in "abc" if channels.hears(one)} == wanted


def test_what_was_wanted_and_dropped_before_anything_was_sent_costs_nothing() -> None:
    channels = Channels()
    channels.want("a")
    channels.drop("a")
    assert channels.changes(10) is None


def test_a_channel_that_comes_again_while_its_end_is_under_way_is_heard_only_after_the_last_answer() -> None:
    channels, server = Channels(), Server()
    channels.want("a")
    server.take(channels)
    channels.drop("a")
    server.take(channels)
    channels.want("a")
    server.take(channels)
    heard = []
    while server.answers:
        channels.answered(*server.answers.popleft())
        heard.append(channels.hears("a"))
    assert heard == [False, False, True], "the first answer is of a subscription that had ended"


def test_a_count_that_is_not_ours_shows_a_subscription_that_nobody_hears() -> None:
    channels, server = Channels(), Server()
    channels.want("own")
    channels.want("room")
    server.take(channels)
    while server.answers:
        channels.answered(*server.answers.popleft())
    server.has.discard("room")  # and not a word about it
    channels.ask_again("own")
    server.do(True, "own")
    with pytest.raises(OutOfStep):
        channels.answered(*server.answers.popleft())


def test_a_refusal_answers_the_oldest_question() -> None:
    channels, server = Channels(), Server()
    channels.want("a")
    channels.want("b")
    server.take(channels)
    assert channels.refused() == "a"
    assert not channels.hears("a")
    assert channels.answered(True, "b", 1)
    channels.want("a")
    again = channels.changes(10)
    assert again is not None and again.subscribe == ["a"]


def test_an_answer_to_nothing_ends_the_connection() -> None:
    with pytest.raises(OutOfStep):
        Channels().answered(True, "a", 1)
    with pytest.raises(OutOfStep):
        Channels().refused()
