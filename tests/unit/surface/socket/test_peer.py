"""One authenticated connection as rooms and presence see it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from realtime.gateway.connection import Connection
from realtime.model import RoomId, Status
from realtime.presence.state import View
from realtime.surface.socket.peer import Peer
from realtime.wire import socket
from tests.unit.gateway.fakes import ADA, BOB, SESSION, principal

ROOM, OTHER = RoomId("room"), RoomId("other")


class Line:
    """A connection that remembers what was sent."""

    def __init__(self) -> None:
        self.principal = principal()
        self.user = ADA
        self.written: list[bytes] = []
        self.lost: list[str] = []
        self.emitted: list[tuple[str, Any]] = []

    def write(self, frames: bytes) -> None:
        self.written.append(frames)

    def emit(self, name: str, payload: bytes) -> None:
        # What is emitted must be what the contract says of this event.
        msgspec.json.decode(payload, type=socket.EMITTED[name])
        self.emitted.append((name, msgspec.json.decode(payload)))


def make() -> tuple[Peer, Line]:
    line = Line()
    return Peer(cast("Connection", line), lambda peer, room: line.lost.append(room)), line


def test_a_peer_is_who_its_connection_speaks_for() -> None:
    peer, _ = make()
    assert (peer.user, peer.credential) == (ADA.id, SESSION)
    assert (peer.rooms, peer.closed, peer.tail, len(peer.waiting)) == (set(), False, None, 0)


def test_frames_pass_through_as_they_are() -> None:
    peer, line = make()
    peer.write(b"frames")
    assert line.written == [b"frames"]


def test_who_is_removed_is_told_and_holds_the_room_no_more() -> None:
    peer, line = make()
    peer.rooms |= {ROOM, OTHER}
    peer.signal_wait_s(ROOM, 10, 0)
    peer.removed(ROOM, "removed")
    assert line.emitted == [("room.removed", {"room": ROOM, "reason": "removed"})]
    assert peer.rooms == {OTHER}
    assert line.lost == [ROOM]
    assert ROOM not in peer.signals


def test_who_was_not_in_the_room_is_told_all_the_same_and_any_other_reason_is_that_one_left() -> None:
    peer, line = make()
    peer.removed(ROOM, "left")
    peer.removed(ROOM, "whatever")
    assert [payload["reason"] for _, payload in line.emitted] == ["left", "left"]


def test_presence_is_a_snapshot_first_and_changes_after_it() -> None:
    peer, line = make()
    peer.presence([View(ADA.id, Status.ONLINE), View(BOB.id, Status.OFFLINE, last_seen_s=0.5)], [(ROOM, 7)], snapshot=True)
    peer.presence([View(BOB.id, Status.DND, "busy", 60.0)], ())
    online = {"user": ADA.id, "status": "online"}
    offline = {"user": BOB.id, "status": "offline", "last_seen_at": "1970-01-01T00:00:00.500Z"}
    busy = {"user": BOB.id, "status": "dnd", "text": "busy", "text_expires_at": "1970-01-01T00:01:00.000Z"}
    assert line.emitted == [
        ("presence", {"users": [online, offline], "rooms": [{"room": ROOM, "online": 7}], "snapshot": True}),
        ("presence", {"users": [busy]}),
    ]


def test_signals_have_a_budget_of_their_own_in_each_room() -> None:
    peer, _ = make()
    assert [peer.signal_wait_s(ROOM, 3, 100.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert abs(peer.signal_wait_s(ROOM, 3, 100.0) - 1 / 3) < 1e-9
    assert peer.signal_wait_s(OTHER, 3, 100.0) == 0.0
    assert peer.signal_wait_s(ROOM, 3, 100.4) == 0.0


def test_peers_are_told_apart_by_identity() -> None:
    connection = cast("Connection", SimpleNamespace(principal=principal(), user=ADA))
    one, two = (Peer(connection, lambda peer, room: None) for _ in range(2))
    assert len({one, two}) == 2
