"""Presence as a pure state, against sets: whatever order snapshots, changes, losses and deaths come in."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime.model import Choice, Status, UserId
from realtime.presence.state import PLAIN, Entry, PresenceState, hides

ANN, BOB, CEM = UserId("ann"), UserId("bob"), UserId("cem")
NODES = st.sampled_from(["n1", "n2", "n3"])
ENTRIES = st.builds(
    Entry, st.sampled_from(list(Choice)[:3]), st.booleans(), st.sampled_from(["", "busy"]), st.none(), st.integers(0, 3)
)
USERS = st.dictionaries(st.sampled_from([ANN, BOB, CEM]), ENTRIES)


@dataclass
class Known:
    """What the model knows of a node."""

    users: dict[UserId, Entry] = field(default_factory=dict)
    version: int = 0
    alive_until_s: float = 0.0


class Model(RuleBasedStateMachine):
    """The state next to dictionaries; who is told of is who is seen in another way than before."""

    def __init__(self) -> None:
        super().__init__()
        self.state = PresenceState()
        self.nodes: dict[str, Known] = {}
        self.now_s = 0.0

    def seen(self) -> dict[UserId, Entry]:
        found: dict[UserId, list[Entry]] = {}
        for node in self.nodes.values():
            for user, entry in node.users.items():
                found.setdefault(user, []).append(entry)
        return {
            user: max(entries, key=lambda entry: entry.version)._replace(idle=all(entry.idle for entry in entries))
            for user, entries in found.items()
        }

    def compare(self, before: dict[UserId, Entry], changed: list[UserId]) -> None:
        after = self.seen()
        assert sorted(changed) == sorted(user for user in (ANN, BOB, CEM) if before.get(user) != after.get(user))

    @rule(node=NODES, users=USERS, version=st.integers(0, 5), life_s=st.floats(0, 20))
    def snapshot(self, node: str, users: dict[UserId, Entry], version: int, life_s: float) -> None:
        before = self.seen()
        # A dictionary keeps the place of a key: two entries of one version are told apart by the node that came first.
        known = Known(dict(users), version, self.now_s + life_s)
        self.nodes[node] = known
        self.compare(before, self.state.replace(node, users, version, self.now_s + life_s))

    @rule(node=NODES, users=USERS, joined=st.booleans(), step=st.integers(-3, 3), life_s=st.floats(0, 20))
    def change(self, node: str, users: dict[UserId, Entry], joined: bool, step: int, life_s: float) -> None:
        known = self.nodes.get(node)
        version = max(0, (known.version if known else 0) + step)
        users = users or {ANN: PLAIN}
        shown = users if joined else {}
        left: dict[UserId, float | None] = {} if joined else dict.fromkeys(users, self.now_s)
        before = self.seen()
        changed = self.state.change(node, shown, left, version, self.now_s + life_s)
        if known is None or version > known.version + 1:
            assert changed is None
            return
        known.alive_until_s = max(known.alive_until_s, self.now_s + life_s)
        if version == known.version + 1:
            known.version = version
            known.users = {user: entry for user, entry in {**known.users, **shown}.items() if user not in left}
        assert changed is not None
        self.compare(before, changed)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), life_s=st.floats(0, 20))
    def sign_of_life(self, data: st.DataObject, life_s: float) -> None:
        node = data.draw(st.sampled_from(sorted(self.nodes)))
        known = self.nodes[node]
        assert self.state.change(node, {}, {}, known.version, self.now_s + life_s) == []
        known.alive_until_s = max(known.alive_until_s, self.now_s + life_s)

    @rule(node=NODES)
    def goes(self, node: str) -> None:
        before = self.seen()
        self.nodes.pop(node, None)
        self.compare(before, self.state.drop(node, self.now_s))

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        dead = [node for node, known in self.nodes.items() if known.alive_until_s <= self.now_s]
        assert self.state.dead(self.now_s) == dead
        for node in dead:
            self.goes(node)

    @rule(life_s=st.floats(0, 20))
    def all_live_on(self, life_s: float) -> None:
        self.state.extend(self.now_s + life_s)
        for known in self.nodes.values():
            known.alive_until_s = max(known.alive_until_s, self.now_s + life_s)

    @invariant()
    def both_know_the_same(self) -> None:
        assert list(self.state.nodes) == list(self.nodes)
        seen = self.seen()
        assert self.state.users == seen.keys()
        for user in (ANN, BOB, CEM):
            assert (user in self.state) == (user in seen)
            view = self.state.view(user, self.now_s)
            if user not in seen:
                assert (view.status, view.text) == (Status.OFFLINE, "")
            else:
                assert view.text == seen[user].text
                assert view.last_seen_s is None
                idle = seen[user].idle and seen[user].choice is Choice.ONLINE
                assert view.status == ("away" if idle else seen[user].choice)


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
    state.replace("n1", {}, 0, 10.0)
    heard = 0
    for version, (user, present) in data.draw(st.permutations(messages + messages[: len(messages) // 2])):
        shown, left = ({user: PLAIN}, dict[UserId, float | None]()) if present else ({}, {user: None})
        if state.change("n1", shown, left, version, 10.0) is None:
            state.replace("n1", dict.fromkeys(truth[version], PLAIN), version, 10.0)
            heard = version
        else:
            heard = max(heard, version)
        assert state.users == truth[heard]


def there(*users: UserId) -> dict[UserId, Entry]:
    return dict.fromkeys(users, PLAIN)


def test_a_user_on_two_nodes_goes_when_the_second_lets_go() -> None:
    state = PresenceState()
    assert state.replace("n1", there(ANN), 0, 10.0) == [ANN]
    assert state.replace("n2", there(ANN), 0, 20.0) == []
    assert state.change("n1", {}, {ANN: 7.0}, 1, 10.0) == []
    assert ANN in state
    assert state.change("n2", {}, {ANN: 6.0}, 1, 20.0) == [ANN]
    assert ANN not in state
    assert state.view(ANN, 9.0).last_seen_s == 7.0


def test_the_later_of_what_a_node_and_the_store_say_is_when_somebody_was_last_seen() -> None:
    state = PresenceState()
    state.replace("n1", there(ANN), 0, 10.0)
    assert state.view(ANN, 9.0, stored_s=5.0).last_seen_s is None, "who is there is not seen last"
    state.drop("n1", 7.0)
    assert state.view(ANN, 9.0).last_seen_s == 7.0
    assert state.view(ANN, 9.0, stored_s=5.0).last_seen_s == 7.0
    assert state.view(ANN, 9.0, stored_s=8.0).last_seen_s == 8.0
    assert state.view(BOB, 9.0, stored_s=8.0).last_seen_s == 8.0
    assert state.view(BOB, 9.0).last_seen_s is None


def test_a_node_counts_until_its_time_and_not_at_it() -> None:
    state = PresenceState()
    state.replace("n1", there(ANN), 0, 10.0)
    assert state.dead(9.999) == []
    assert state.dead(10.0) == ["n1"]


def test_a_late_sign_of_life_does_not_shorten_what_an_earlier_one_gave() -> None:
    state = PresenceState()
    state.replace("n1", there(ANN), 3, 30.0)
    assert state.change("n1", {}, {}, 3, 20.0) == []
    state.extend(10.0)
    assert state.dead(29.0) == []


def test_a_hole_changes_nothing_and_gives_no_life() -> None:
    state = PresenceState()
    state.replace("n1", there(ANN), 1, 10.0)
    assert state.change("n1", there(BOB), {ANN: None}, 3, 99.0) is None
    assert state.users == {ANN}
    assert state.dead(10.0) == ["n1"]


def test_what_was_given_may_change_afterwards_without_harm() -> None:
    state, users = PresenceState(), there(ANN)
    state.replace("n1", users, 0, 10.0)
    users[BOB] = PLAIN
    assert state.change("n1", there(BOB), {}, 1, 10.0) == [BOB]


def test_a_text_is_over_at_its_time_once_and_one_that_was_replaced_is_not() -> None:
    state = PresenceState()
    state.replace("n1", {ANN: Entry(text="a", text_until_s=10.0), BOB: Entry(text="b", text_until_s=10.0)}, 0, 99.0)
    state.change("n1", {BOB: Entry(text="b", text_until_s=20.0, version=1)}, {}, 1, 99.0)
    assert (state.view(ANN, 9.9).text, state.texts_over(9.9)) == ("a", [])
    assert (state.view(ANN, 10.0).text, state.texts_over(10.0), state.texts_over(10.0)) == ("", [ANN], [])
    state.drop("n1", 11.0)
    assert state.texts_over(99.0) == []


@pytest.mark.parametrize(
    ("choice", "idle", "status"),
    [
        ("online", False, Status.ONLINE),
        ("online", True, Status.AWAY),
        ("dnd", True, Status.DND),
        ("away", False, Status.AWAY),
        ("invisible", False, Status.OFFLINE),
        ("x.future", False, Status.ONLINE),
        ("x.future", True, Status.AWAY),
    ],
)
def test_whom_another_node_shows_is_there_also_when_only_newer_nodes_know_the_choice(
    choice: str, idle: bool, status: Status
) -> None:
    state = PresenceState()
    state.replace("n1", {ANN: Entry(choice, idle, "text", version=1)}, 0, 10.0)
    assert (state.view(ANN, 1.0).status, state.view(ANN, 1.0).text) == (status, "text")


def test_this_node_shows_nobody_whose_choice_only_newer_nodes_know() -> None:
    assert {choice: hides(choice) for choice in [*Choice, "x.future"]} == {
        Choice.ONLINE: False, Choice.AWAY: False, Choice.DND: False, Choice.INVISIBLE: True, "x.future": True,
    }  # fmt: skip


@pytest.mark.parametrize("version", [0, 1])
def test_a_change_of_a_node_that_nobody_knows_asks_for_a_snapshot(version: int) -> None:
    state = PresenceState()
    assert state.change("n1", there(ANN), {}, version, 10.0) is None
    assert ANN not in state
    assert state.drop("n1", 0.0) == []
