"""The register of connections against plain sets: by user and by session, whatever comes and goes."""

from __future__ import annotations

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.gateway.connection import Connection
from realtime.model import SessionId, User, UserId
from realtime.surface.socket.hub import Hub
from realtime.surface.socket.peer import Peer
from tests.unit.gateway.fakes import principal

USERS, SESSIONS = ("ann", "bob", "cem"), ("s1", "s2", "s3")


class Somebody:
    """A peer as the hub sees it; each is one of a kind."""

    def __init__(self, user: UserId, session: SessionId) -> None:
        self.user = user
        self.credential = session


def peer(user: str = "ann", session: str = "s1") -> Peer:
    return cast("Peer", Somebody(UserId(user), SessionId(session)))


class Guest:
    """A connection as the hub sees it."""

    def __init__(self, user: UserId, session: SessionId) -> None:
        self.user = User(user, user, user)
        self.principal = principal(self.user, session)


def guest(user: UserId, session: SessionId) -> Connection:
    return cast("Connection", Guest(user, session))


def test_an_empty_hub_knows_nobody() -> None:
    hub = Hub()
    assert (len(hub), list(hub)) == (0, [])
    assert hub.of_user(UserId("ann")) == []
    assert hub.of_session(SessionId("s1")) == []


def test_a_user_on_two_devices_is_found_by_user_and_each_device_by_its_session() -> None:
    hub, phone, laptop, other = Hub(), peer(session="s1"), peer(session="s2"), peer("bob", "s3")
    for one in (phone, laptop, other):
        hub.add(one)
    assert set(hub.of_user(UserId("ann"))) == {phone, laptop}
    assert hub.of_session(SessionId("s2")) == [laptop]
    assert set(hub) == {phone, laptop, other}
    hub.discard(laptop)
    assert hub.of_user(UserId("ann")) == [phone]
    assert hub.of_session(SessionId("s2")) == []
    assert len(hub) == 2


def test_a_list_that_was_handed_out_does_not_change_when_somebody_leaves() -> None:
    hub, one, two = Hub(), peer(), peer()
    hub.add(one)
    hub.add(two)
    handed_out = hub.of_user(UserId("ann"))
    for leaving in handed_out:
        hub.discard(leaving)
    assert set(handed_out) == {one, two}
    assert hub.of_user(UserId("ann")) == []


def test_everybody_may_leave_while_all_are_gone_through() -> None:
    hub = Hub()
    for number in range(10):
        hub.add(peer(USERS[number % 3], SESSIONS[number % 2]))
    seen = []
    for one in hub:
        hub.discard(one)
        seen.append(one)
    assert len(set(seen)) == 10
    assert (len(hub), list(hub)) == (0, [])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(USERS), st.sampled_from(SESSIONS)), max_size=12), st.data())
def test_the_hub_knows_what_sets_would_know(people: list[tuple[str, str]], data: st.DataObject) -> None:
    hub, present = Hub(), set[Peer]()
    peers = [peer(*one) for one in people]
    for one in data.draw(st.permutations(peers + peers)):
        if one in present:
            hub.discard(one)
            present.discard(one)
        else:
            hub.add(one)
            present.add(one)
        assert len(hub) == len(present)
        assert set(hub) == present
        for user in USERS:
            assert set(hub.of_user(UserId(user))) == {some for some in present if some.user == user}
        for session in SESSIONS:
            assert set(hub.of_session(SessionId(session))) == {some for some in present if some.credential == session}


def test_a_connection_to_other_namespaces_is_found_too_and_counts_once_with_one_to_ours() -> None:
    hub, ours = Hub(), peer()
    both, alone = guest(ours.user, SessionId(ours.credential)), guest(UserId("ann"), SessionId("s2"))
    ours.connection = both
    hub.add(ours)
    for one in (both, alone):
        hub.admit(one)
    assert hub.connections_of_user(UserId("ann")) == {both, alone}
    assert hub.connections_of_session(SessionId("s1")) == {both}
    assert hub.connections_of_session(SessionId("s2")) == {alone}
    assert (hub.of_session(SessionId("s2")), len(hub)) == ([], 1), "events of the contract go to `/` alone"
    hub.dismiss(both)
    assert hub.connections_of_user(UserId("ann")) == {both, alone}
    hub.discard(ours)
    hub.dismiss(alone)
    assert hub.connections_of_user(UserId("ann")) == set()
    assert hub.connections_of_session(SessionId("s1")) == set()


def test_there_is_room_for_so_many_connections_of_a_user_and_for_one_that_is_open_already() -> None:
    hub, user = Hub(), UserId("ann")
    first, second, third = (guest(user, SessionId(name)) for name in SESSIONS)
    assert hub.has_room(user, first, 1)
    assert not hub.has_room(user, first, 0)
    hub.admit(first)
    assert hub.has_room(user, first, 1)
    assert not hub.has_room(user, second, 1)
    assert hub.has_room(user, second, 2)
    hub.admit(second)
    assert not hub.has_room(user, third, 2)
    assert hub.has_room(UserId("bob"), third, 1)


def test_a_connection_that_is_there_in_both_ways_counts_once() -> None:
    hub, user = Hub(), UserId("ann")
    both, other = guest(user, SessionId("s1")), guest(user, SessionId("s2"))
    one = peer()
    one.connection = both
    hub.add(one)
    hub.admit(both)
    assert hub.has_room(user, other, 2)
    assert not hub.has_room(user, other, 1)
