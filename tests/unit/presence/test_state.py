"""Presence as a pure state, against sets: whatever order snapshots, changes, losses and deaths come in."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime.model import UserId
from realtime.presence.state import PresenceState

ANN, BOB, CEM = UserId("ann"), UserId("bob"), UserId("cem")
NODES = st.sampled_from(["n1", "n2", "n3"])
USERS = st.sets(st.sampled_from([ANN, BOB, CEM]))


@dataclass
class Known:
    """What the model knows of a node."""

    users: set[UserId] = field(default_factory=set)
    version: int = 0
    alive_until_s: float = 0.0


class Model(RuleBasedStateMachine):
    """The state next to a dictionary of sets; who came and went is the difference of who was online before and after."""

    def __init__(self) -> None:
        super().__init__()
        self.state = PresenceState()
        self.nodes: dict[str, Known] = {}
        self.now_s = 0.0

    def online(self) -> set[UserId]:
        return {user for node in self.nodes.values() for user in node.users}

    def compare(self, before: set[UserId], changes: list[tuple[UserId, bool]]) -> None:
        after = self.online()
        assert sorted(changes) == sorted([(user, True) for user in after - before] + [(user, False) for user in before - after])

    @rule(node=NODES, users=USERS, version=st.integers(0, 5), life_s=st.floats(0, 20))
    def snapshot(self, node: str, users: set[UserId], version: int, life_s: float) -> None:
        before = self.online()
        self.nodes[node] = Known(set(users), version, self.now_s + life_s)
        self.compare(before, self.state.replace(node, users, version, self.now_s + life_s))

    @rule(node=NODES, users=USERS, joined=st.booleans(), step=st.integers(-3, 3), life_s=st.floats(0, 20))
    def change(self, node: str, users: set[UserId], joined: bool, step: int, life_s: float) -> None:
        known = self.nodes.get(node)
        version = max(0, (known.version if known else 0) + step)
        users = users or {ANN}
        came, went = (users, set[UserId]()) if joined else (set[UserId](), users)
        before = self.online()
        changes = self.state.change(node, came, went, version, self.now_s + life_s)
        if known is None or version > known.version + 1:
            assert changes is None
            return
        known.alive_until_s = max(known.alive_until_s, self.now_s + life_s)
        if version == known.version + 1:
            known.version, known.users = version, (known.users | came) - went
        assert changes is not None
        self.compare(before, changes)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), life_s=st.floats(0, 20))
    def sign_of_life(self, data: st.DataObject, life_s: float) -> None:
        node = data.draw(st.sampled_from(sorted(self.nodes)))
        known = self.nodes[node]
        assert self.state.change(node, set(), set(), known.version, self.now_s + life_s) == []
        known.alive_until_s = max(known.alive_until_s, self.now_s + life_s)

    @rule(node=NODES)
    def goes(self, node: str) -> None:
        before = self.online()
        self.nodes.pop(node, None)
        self.compare(before, self.state.drop(node))

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        before = self.online()
        self.nodes = {node: known for node, known in self.nodes.items() if known.alive_until_s > self.now_s}
        self.compare(before, self.state.expire(self.now_s))

    @rule(life_s=st.floats(0, 20))
    def all_live_on(self, life_s: float) -> None:
        self.state.extend(self.now_s + life_s)
        for known in self.nodes.values():
            known.alive_until_s = max(known.alive_until_s, self.now_s + life_s)

    @invariant()
    def both_know_the_same(self) -> None:
        assert set(self.state.nodes) == self.nodes.keys()
        assert {user for user in (ANN, BOB, CEM) if self.state.is_online(user)} == self.online()


TestModel = Model.TestCase
TestModel.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([ANN, BOB, CEM]), st.booleans()), max_size=15), st.data())
def test_a_node_that_is_heard_of_in_any_order_with_repeats_is_never_known_wrongly(
    moves: list[tuple[UserId, bool]], data: st.DataObject
) -> None:
    truth: list[set[UserId]] = [set()]
    for user, present in moves:
        truth.append(truth[-1] | {user} if present else truth[-1] - {user})
    messages = list(enumerate(moves, 1))
    state = PresenceState()
    state.replace("n1", set(), 0, 10.0)
    heard = 0
    for version, (user, present) in data.draw(st.permutations(messages + messages[: len(messages) // 2])):
        joined, left = ({user}, set[UserId]()) if present else (set[UserId](), {user})
        if state.change("n1", joined, left, version, 10.0) is None:
            state.replace("n1", truth[version], version, 10.0)
            heard = version
        else:
            heard = max(heard, version)
        assert {one for one in (ANN, BOB, CEM) if state.is_online(one)} == truth[heard]


def test_a_user_on_two_nodes_goes_when_the_second_lets_go() -> None:
    state = PresenceState()
    assert state.replace("n1", {ANN}, 0, 10.0) == [(ANN, True)]
    assert state.replace("n2", {ANN}, 0, 20.0) == []
    assert state.change("n1", set(), {ANN}, 1, 10.0) == []
    assert state.is_online(ANN)
    assert state.change("n2", set(), {ANN}, 1, 20.0) == [(ANN, False)]
    assert not state.is_online(ANN)


def test_a_node_counts_until_its_time_and_not_at_it() -> None:
    state = PresenceState()
    state.replace("n1", {ANN}, 0, 10.0)
    assert state.expire(9.999) == []
    assert state.expire(10.0) == [(ANN, False)]
    assert list(state.nodes) == []


def test_a_late_sign_of_life_does_not_shorten_what_an_earlier_one_gave() -> None:
    state = PresenceState()
    state.replace("n1", {ANN}, 3, 30.0)
    assert state.change("n1", set(), set(), 3, 20.0) == []
    state.extend(10.0)
    assert state.expire(29.0) == []


def test_a_hole_changes_nothing_and_gives_no_life() -> None:
    state = PresenceState()
    state.replace("n1", {ANN}, 1, 10.0)
    assert state.change("n1", {BOB}, {ANN}, 3, 99.0) is None
    assert state.is_online(ANN)
    assert not state.is_online(BOB)
    assert state.expire(10.0) == [(ANN, False)]


def test_a_set_that_was_given_may_change_afterwards_without_harm() -> None:
    state, users = PresenceState(), {ANN}
    state.replace("n1", users, 0, 10.0)
    users.add(BOB)
    assert state.change("n1", {BOB}, set(), 1, 10.0) == [(BOB, True)]


@pytest.mark.parametrize("version", [0, 1])
def test_a_change_of_a_node_that_nobody_knows_asks_for_a_snapshot(version: int) -> None:
    state = PresenceState()
    assert state.change("n1", {ANN}, set(), version, 10.0) is None
    assert not state.is_online(ANN)
    assert state.drop("n1") == []
