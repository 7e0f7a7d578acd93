"""What nodes tell each other: each message does on another node what it says, and leaves nothing else behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from realtime.bus.envelope import Refusal, Refused
from realtime.model import Choice, PresenceSetting, Role, Room, RoomId, RoomKind, SessionId, UserId
from realtime.node import nodes
from realtime.node.nodes import Incoming, Outgoing, Parts
from tests.unit.gateway.fakes import ADA
from tests.unit.surface.rest.conftest import AT

ROOM = RoomId("019b0000-0000-7000-8000-0000000000aa")


class Remembers:
    """Any part of a node: it remembers what it was asked."""

    def __init__(self, name: str, asked: list[tuple[Any, ...]]) -> None:
        self._name = name
        self._asked = asked

    def __getattr__(self, method: str) -> Any:
        return lambda *given, **_more: self._asked.append((f"{self._name}.{method}", *given))


class Node:
    """One that hears what the other tells."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        names = ("feeds", "presence", "ended", "hub", "departures", "board", "extensions")
        parts = Parts(*(cast("Any", Remembers(name, self.asked)) for name in names))
        self.sent: list[bytes] = []
        self.outgoing = Outgoing(SimpleNamespace(publish_control=self.sent.append), parts.hub)
        self.incoming = Incoming(parts, self.outgoing)


@pytest.fixture
def pair() -> tuple[Node, Node]:
    return Node(), Node()


def tell(pair: tuple[Node, Node], name: str, *given: Any) -> list[tuple[Any, ...]]:
    """Have the first node tell something; return what the second one does."""
    here, there = pair
    getattr(here.outgoing, name)(*given)
    for message in here.sent:
        there.incoming.control(message)
    here.sent.clear()
    return there.asked


def test_each_message_does_on_the_other_node_what_it_says(pair: tuple[Node, Node]) -> None:
    room = Room(ROOM, RoomKind.PRIVATE, "Den", 3, AT, AT, 2, Role.MEMBER)
    setting = PresenceSetting(Choice.DND, "busy", None, 4)
    assert tell(pair, "session_over", SessionId("s"))[-1] == ("ended.note", "s")
    assert tell(pair, "expelled", ADA.id, ROOM, "left", 7)[-1] == ("departures.here", ADA.id, ROOM, "left", 7)
    assert tell(pair, "presence_changed", b"x")[-1] == ("presence.received", b"x")
    assert tell(pair, "shown", b"y")[-1] == ("board.heard", b"y")
    assert tell(pair, "gap")[-2:] == [("feeds.compare_soon",), ("ended.read_soon",)]
    done, user, name, payload = tell(pair, "room_added", ADA.id, room)[-1]
    assert (done, user, name, msgspec.json.decode(payload)["room"]["name"]) == ("hub.tell_user", ADA.id, "room.added", "Den")
    chosen, told = tell(pair, "chosen", ADA.id, setting)[-2:]
    assert chosen == ("presence.chosen", ADA.id, setting)
    assert told[:3] == ("hub.tell_user", ADA.id, "presence")


def test_what_concerns_a_user_is_told_on_this_node_too(pair: tuple[Node, Node]) -> None:
    here, _ = pair
    here.outgoing.tell(UserId("u"), "presence", b"{}")
    assert here.asked == [("hub.tell_user", "u", "presence", b"{}")]


def test_a_bus_that_comes_and_goes_is_made_up_for(pair: tuple[Node, Node]) -> None:
    here, _ = pair
    here.incoming.away()
    assert here.asked == [("presence.suspend",), ("feeds.compare_soon",)]
    here.asked.clear()
    here.incoming.gap()
    assert here.asked == [("feeds.compare_soon",), ("presence.resync",), ("ended.read_soon",)]
    assert len(here.sent) == 1, "what this node sent may have been lost too"


def test_every_kind_of_message_says_what_it_does() -> None:
    for kind in nodes._Message.__subclasses__():
        assert "take" in kind.__dict__, kind.__name__


# -- what only newer nodes know ---------------------------------------------------------------------


def take(node: Node, *message: Any) -> list[tuple[Any, ...]]:
    """Have a node take a message; return what it does."""
    node.asked.clear()
    node.incoming.control(msgspec.json.encode(message))
    return node.asked.copy()


@pytest.mark.parametrize(
    "message", [["Future"], ["Future", 1, {"a": [2]}], ["x.future", "user", "room"], ["Told2", "u", "n", "{}"]]
)
def test_a_message_of_a_kind_that_only_newer_nodes_know_is_refused_for_that_reason(message: list[Any]) -> None:
    node = Node()
    with pytest.raises(Refused) as caught:
        take(node, *message)
    assert caught.value.reason is Refusal.KIND
    assert node.asked == []


@pytest.mark.parametrize(
    "message", [b"", b"{}", b"[]", b"[1]", b"[[]]", b'["Told"]', b'["Told",1,2,3]', b'["Chosen","u",1,"",null,1]', b"\xff"]
)
def test_a_message_of_another_shape_is_a_value_error_and_of_no_newer_kind(message: bytes) -> None:
    node = Node()
    with pytest.raises(ValueError, match=r"\S") as caught:
        node.incoming.control(message)
    assert not isinstance(caught.value, Refused)
    assert node.asked == []


def test_fields_that_newer_nodes_append_are_passed_over() -> None:
    node = Node()
    assert take(node, "SessionOver", "s", "why", 3) == [("ended.note", "s")]
    assert take(node, "Told", "u", "x.future", "{}", True) == [("hub.tell_user", "u", "x.future", b"{}")]
    assert take(node, "Expelled", "u", "r", "x.future", 7, {"by": "a"}) == [("departures.here", "u", "r", "x.future", 7)]
    assert take(node, "Gap", 1) == take(node, "Gap")


def test_a_choice_that_only_newer_nodes_know_reaches_presence_as_it_is() -> None:
    node = Node()
    assert take(node, "Chosen", "u", "x.future", "text", None, 4) == [
        ("presence.chosen", "u", PresenceSetting("x.future", "text", None, 4))
    ]
    [(_, _, setting)] = take(node, "Chosen", "u", "dnd", "", None, 5)
    assert setting.choice is Choice.DND
