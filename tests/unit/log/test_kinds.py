"""The registry of kinds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from realtime.log.kinds import Kind, Kinds
from realtime.model import Event, RoomId, UserId
from realtime.node.kinds import KINDS
from realtime.wire.events import RoomEvent

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Voted(RoomEvent, frozen=True, kw_only=True, tag="poll.voted"):
    target: int
    data: dict[str, Any]


def made(kind: str, **more: Any) -> Event:
    return Event(RoomId("room"), 3, kind, UserId("ann"), AT, **more)


def test_a_kind_that_is_declared_twice_stops_the_start() -> None:
    with pytest.raises(ValueError, match=r"message\.created is declared twice"):
        Kinds([*KINDS, next(iter(KINDS))])


@pytest.mark.parametrize("name", ["Voted", "poll", "poll.", "poll voted", "poll.voted-x", "poll.'"])
def test_a_name_that_is_none_stops_the_start(name: str) -> None:
    struct: Any = msgspec.defstruct("Odd", [], bases=(RoomEvent,), tag=name)
    with pytest.raises(ValueError, match="is no name of a kind"):
        Kinds([Kind(event=struct)])


def test_an_event_is_written_and_read_by_the_struct_of_its_kind() -> None:
    kinds = Kinds([Kind(event=Voted)])
    json = kinds.encode(made("poll.voted", target=2, data={"choice": 1}))
    assert msgspec.json.decode(json) == {
        "kind": "poll.voted", "room": "room", "seq": 3, "at": "2026-01-01T00:00:00.000Z", "actor": "ann", "target": 2,
        "data": {"choice": 1},
    }  # fmt: skip
    assert kinds.decode("poll.voted", json) == Voted(
        room="room", seq=3, at="2026-01-01T00:00:00.000Z", actor="ann", target=2, data={"choice": 1}
    )
    with pytest.raises(msgspec.ValidationError):
        kinds.decode("poll.voted", json.replace(b"poll.voted", b"poll.ended"))


def test_a_kind_that_only_newer_nodes_know_is_written_with_all_that_it_has() -> None:
    json = KINDS.encode(made("x.future", target=2, thread=1, data={"choice": 1}))
    assert msgspec.json.decode(json) == {
        "kind": "x.future", "room": "room", "seq": 3, "at": "2026-01-01T00:00:00.000Z", "actor": "ann", "target": 2,
        "thread": 1, "data": {"choice": 1},
    }  # fmt: skip
    assert KINDS.decode("x.future", json) is None
