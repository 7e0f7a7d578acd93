"""Both releases of a rolling upgrade read each other: what nodes of the release before said is read here, and what is said here
is, byte for byte, what they said, or has something appended that they pass over.
"""

from __future__ import annotations

import base64
import json
import pathlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from realtime.auth import tokens
from realtime.bus.envelope import EnvelopeMac, Kind
from realtime.gateway.socketio import event_frame, event_of
from realtime.log.frames import EventCodec
from realtime.model import Choice, Event, PresenceSetting, RoomId, SessionId, User, UserId
from realtime.node.kinds import KINDS
from realtime.presence.lease import unpack_entry
from realtime.presence.service import Change
from realtime.presence.state import PLAIN, Entry
from tests.released.record import ANN, BOB, NOW_S, ROOM, SECRET, SENDER, SESSION, Ring
from tests.unit.node.test_nodes import Node

BEFORE: dict[str, Any] = json.loads((pathlib.Path(__file__).parent.parent / "released/0.1.0.json").read_text("utf-8"))
CODEC = EventCodec(KINDS, event_frame, event_of)
AT = datetime.fromtimestamp(NOW_S, UTC)
RENAMED = {"BEAT": "HEARTBEAT"}
"""Kinds of envelopes that have another name now, and the same number."""


def kind(name: str) -> Kind:
    return Kind[RENAMED.get(name, name)]


@pytest.mark.parametrize("given", BEFORE["events"], ids=lambda given: given["kind"])
def test_a_frame_of_the_release_before_is_taken_and_would_be_written_the_same_here(given: dict[str, Any]) -> None:
    frame = base64.b64decode(given["frame"])
    seq = BEFORE["events"].index(given) + 1
    assert CODEC.check(frame, RoomId(ROOM), seq) == frame
    fields = given["fields"] | dict.fromkeys(given["times"], AT)
    event = Event(room=RoomId(ROOM), seq=seq, kind=given["kind"], actor=UserId(ANN), at=AT, **fields)
    assert CODEC.encode(event) == frame


@pytest.mark.parametrize("given", BEFORE["envelopes"], ids=lambda given: given["kind"])
def test_an_envelope_of_the_release_before_is_opened_and_would_be_packed_the_same_here(given: dict[str, Any]) -> None:
    mac = EnvelopeMac(Ring(), SENDER)
    data, frames = base64.b64decode(given["data"]), [base64.b64decode(one) for one in given["frames"]]
    assert mac.unpack(given["channel"], data) == (SENDER, kind(given["kind"]), given["number"], frames)
    assert mac.pack(given["channel"], kind(given["kind"]), frames, given["number"]) == data


def test_what_nodes_of_the_release_before_tell_does_here_what_it_says() -> None:
    node = Node()
    for message in BEFORE["control"]:
        node.incoming.control(message.encode())
    changes = [given[0] for name, *given in node.asked if name == "presence.received"]
    assert [one for one in node.asked if one[0] != "presence.received"] == [
        ("ended.note", SESSION),
        ("hub.tell_user", ANN, "room.removed", b'{"room":"r","reason":"left"}'),
        ("departures.here", BOB, ROOM, "removed", 10),
        ("presence.chosen", ANN, PresenceSetting(Choice.AWAY, "out", NOW_S + 60.0, 7)),
        ("feeds.compare_soon",),
        ("ended.read_soon",),
    ]
    came, went, quiet, gone = (msgspec.json.decode(one, type=Change) for one in changes)
    assert {user: unpack_entry(came.entries.get(user, b"")) for user in came.joined} == {
        ANN: PLAIN,
        BOB: Entry(Choice.DND, False, "ill", NOW_S + 60.0, 3),
    }
    assert (went.left, went.seen, went.version) == ([ANN], {ANN: NOW_S - 1.5}, 2)
    assert (quiet.joined, quiet.left, quiet.gone, gone.gone) == ([], [], False, True)


def test_what_is_told_here_is_what_nodes_of_the_release_before_tell() -> None:
    node = Node()
    node.outgoing.session_over(SessionId(SESSION))
    node.outgoing.tell(UserId(ANN), "room.removed", b'{"room":"r","reason":"left"}')
    node.outgoing.expelled(UserId(BOB), RoomId(ROOM), "removed", 10)
    node.outgoing.chosen(UserId(ANN), PresenceSetting(Choice.AWAY, "out", NOW_S + 60.0, 7))
    node.outgoing.gap()
    presence = [one for one in BEFORE["control"] if one.startswith('["PresenceChanged"')]
    told = [one.decode() for one in node.sent if not one.startswith(b'["Told","' + ANN.encode() + b'","presence"')]
    assert told == [one for one in BEFORE["control"] if one not in presence]


def test_a_change_of_presence_has_its_fields_where_the_release_before_has_them() -> None:
    """Fields are appended, and never moved: `is_sealed` came last."""
    before = msgspec.json.decode(base64.b64decode(json.loads(BEFORE["control"][3])[1]))
    entry = msgspec.Raw(msgspec.json.encode(Entry(Choice.DND, False, "ill", NOW_S + 60.0, 3)))
    made = Change("n1", 1, [ANN, BOB], [], entries={BOB: entry}, is_sealed=True)
    assert msgspec.json.decode(msgspec.json.encode(made)) == [*before, True]


def test_a_token_of_the_release_before_speaks_for_the_same_user_and_session() -> None:
    claims = tokens.Claims("realtime", "realtime")
    found = tokens.verify(claims, {"kid": SECRET}, BEFORE["token"], NOW_S + 1.0)
    assert found.user == User(UserId(ANN), "ann", "Ann ❤")
    assert found.credential == SESSION
    assert found.expires_at_s == NOW_S + 900
    refresh = tokens.RefreshToken.parse(BEFORE["refresh_token"])
    assert (refresh.session, refresh.secret, str(refresh)) == (SESSION, bytes(range(32)), BEFORE["refresh_token"])


def test_nodes_of_the_release_before_take_a_token_that_is_issued_here() -> None:
    """They read these claims and this header, and pass over every other."""
    before, made = (
        [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]
        for token in (
            BEFORE["token"],
            tokens.issue(
                tokens.Claims("realtime", "realtime"),
                "kid",
                SECRET,
                User(UserId(ANN), "ann", "Ann ❤"),
                SessionId(SESSION),
                NOW_S,
                900,
            ),
        )
    )
    assert all(new[name] == value for old, new in zip(before, made, strict=True) for name, value in old.items())
