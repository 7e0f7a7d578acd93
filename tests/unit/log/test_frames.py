"""Frames from other nodes: the very bytes of one event of that room and number, or nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from realtime.gateway.socketio import event_frame, event_of
from realtime.log.feed import Frame
from realtime.log.frames import EventCodec
from realtime.messages import kinds as messages
from realtime.model import Event, Role, RoomId, UserId
from realtime.node.kinds import KINDS
from realtime.rooms import kinds as rooms

ROOM = RoomId("0192f1f0-0000-7000-8000-000000000001")
ANN = UserId("0192f1f0-0000-7000-8000-00000000000a")
AT = datetime(2026, 11, 26, tzinfo=UTC)
EVENTS = {
    messages.CREATED.name: {"client_id": "c", "body": "naïve \u2028 \N{SNOWMAN}"},
    messages.EDITED.name: {"client_id": "c", "target": 1, "body": "x" * 70_000},
    messages.DELETED.name: {"target": 1},
    rooms.JOINED.name: {"user": ANN, "role": Role.MEMBER},
    rooms.LEFT.name: {"user": ANN},
    rooms.REMOVED.name: {"user": ANN},
    rooms.ROLE_CHANGED.name: {"user": ANN, "role": Role.ADMIN},
    rooms.BANNED.name: {"user": ANN},
    rooms.UNBANNED.name: {"user": ANN},
}


@pytest.fixture
def codec() -> EventCodec:
    return EventCodec(KINDS, event_frame, event_of)


def made(codec: EventCodec, kind: str = messages.CREATED.name, seq: int = 7) -> bytes:
    fields = EVENTS[kind]
    return codec.encode(Event(room=ROOM, seq=seq, kind=kind, actor=ANN, at=AT, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(KINDS.structs))
def test_what_this_node_encodes_another_takes(codec: EventCodec, kind: str) -> None:
    frame = made(codec, kind)
    assert codec.check(frame, ROOM, 7) == frame


@pytest.mark.parametrize("kind", list(KINDS.structs))
def test_a_frame_that_deletes_a_message_is_recognised_and_no_other(codec: EventCodec, kind: str) -> None:
    assert codec.noted(Frame(made(codec, kind))).erases is (kind == messages.DELETED.name)


def test_another_room_or_another_seq_is_refused(codec: EventCodec) -> None:
    frame = made(codec)
    for room, seq in ((RoomId(ROOM[:-1] + "2"), 7), (ROOM, 8), (ROOM, 6)):
        with pytest.raises(ValueError, match="other things than its envelope"):
            codec.check(frame, room, seq)


def test_anything_but_the_bytes_of_one_frame_is_refused(codec: EventCodec) -> None:
    frame = made(codec)
    json = event_of(frame)[1]
    wrong = [
        b"",
        b"42",
        json,
        frame[1:],
        frame[:-1],
        frame + b"\x89\x00",  # a ping behind it
        frame + frame,
        b"\x01" + frame[1:],  # a fragment
        b"\x82" + frame[1:],  # binary
        event_frame("message.deleted", json),  # a name that is not the kind
        event_frame("room.removed", json),
        event_frame("message.created", b"{}"),
        event_frame("message.created", json[:-1] + b',"seq":"7"}'),
        event_frame("message.created", json.replace(b'"body":"', b'"body":"\xff')),
        event_frame("message.created", json + b',{"a":1}'),
    ]
    for one in wrong:
        with pytest.raises(ValueError, match=r"\S"):
            codec.check(one, ROOM, 7)


def test_a_kind_of_a_newer_node_passes_when_it_has_what_every_event_has(codec: EventCodec) -> None:
    head = '{"kind":"reaction.added","room":"%s","seq":7,"at":"2026-11-26T00:00:00.000Z","actor":"%s"'
    frame = event_frame("reaction.added", (head % (ROOM, ANN) + ',"emoji":"+1"}').encode())
    assert codec.check(frame, ROOM, 7) == frame
    with pytest.raises(ValueError, match=r"\S"):
        codec.check(event_frame("reaction.added", b'{"kind":"reaction.added","room":"r","seq":7}'), ROOM, 7)
    with pytest.raises(ValueError, match=r"\S"):
        codec.check(event_frame("reaction.added", (head % (ROOM, ANN) + ',"emoji":"').encode() + b'\xff"}'), ROOM, 7)


def test_a_row_of_a_newer_kind_travels_with_its_columns_and_its_data_under_their_names(codec: EventCodec) -> None:
    made = Event(ROOM, 7, "x.future", ANN, AT, "c", 3, ANN, "x.role", "text", AT, AT, 2, {"emoji": "\u2764", "kind": [1]})
    frame = codec.encode(made)
    assert codec.check(frame, ROOM, 7) == frame
    assert codec.noted(frame) == (frame, None, False)
    at = "2026-11-26T00:00:00.000Z"
    assert json.loads(codec.json(frame)) == {
        "room": ROOM, "seq": 7, "kind": "x.future", "actor": ANN, "at": at, "client_id": "c", "target": 3, "user": ANN,
        "role": "x.role", "body": "text", "edited_at": at, "deleted_at": at, "thread": 2,
        "data": {"emoji": "\u2764", "kind": [1]},
    }  # fmt: skip
    bare = codec.encode(Event(ROOM, 7, "member.x", ANN, AT))
    assert json.loads(codec.json(bare)) == {"room": ROOM, "seq": 7, "kind": "member.x", "actor": ANN, "at": at}
    assert codec.noted(bare) == (bare, None, False)


@pytest.mark.parametrize("kind", ["member.joined", "member.role_changed"])
def test_a_role_of_a_newer_node_passes_with_its_event(codec: EventCodec, kind: str) -> None:
    frame = codec.encode(Event(room=ROOM, seq=7, kind=kind, actor=ANN, at=AT, user=ANN, role="x.future"))
    assert codec.check(frame, ROOM, 7) == frame
    assert json.loads(codec.json(frame))["role"] == "x.future"


def test_a_message_of_a_newer_node_without_a_text_is_an_empty_one(codec: EventCodec) -> None:
    frame = codec.encode(Event(room=ROOM, seq=7, kind="message.created", actor=ANN, at=AT))
    assert codec.check(frame, ROOM, 7) == frame
    assert (json.loads(codec.json(frame))["body"], json.loads(codec.json(frame))["client_id"]) == ("", "")


def test_signals_are_of_their_room(codec: EventCodec) -> None:
    json = f'{{"room":"{ROOM}","user":"{ANN}","kind":"typing","data":{{"x":[1]}}}}'.encode()
    codec.check_signal(event_frame("signal", json), ROOM)
    for frame, room in (
        (event_frame("signal", json), RoomId("other")),
        (event_frame("message.created", json), ROOM),
        (made(codec), ROOM),
        (b"", ROOM),
    ):
        with pytest.raises(ValueError, match=r"\S"):
            codec.check_signal(frame, room)
