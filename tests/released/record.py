"""Records what nodes of a release say to each other, for `tests/unit/test_release_before.py`.

Run it with the environment of that release, whose modules lie where they lay then:

    RELEASE/.venv/bin/python -P tests/released/record.py 0.1.0 > tests/released/0.1.0.json
"""

from __future__ import annotations

import base64
import datetime
import importlib
import json
import sys
from typing import Any

ROOM, ANN, BOB = (f"0192f1f0-0000-7000-8000-00000000000{letter}" for letter in "1ab")
SESSION = "0192f1f0-0000-7000-8000-0000000000bb"
SECRET, SENDER = b"shared by all nodes of one cluster", b"12345678"
NOW_S = 1_700_000_000


class Ring:
    """The key that all nodes share."""

    def __init__(self) -> None:
        self.secrets = {"kid": SECRET}
        self.signing = ("kid", SECRET)


def recorded(release: str) -> dict[str, Any]:
    model, nodes, tokens, service, state, envelope, frames, socketio = (
        importlib.import_module(f"realtime.{name}")
        for name in ("model", "nodes", "auth.tokens", "presence.service", "presence.state", "rooms.envelope", "rooms.frames",
                     "gateway.socketio")
    )  # fmt: skip
    codec = frames.EventCodec(socketio.event_frame, socketio.event_of)
    at = datetime.datetime.fromtimestamp(NOW_S, datetime.UTC)
    given: list[tuple[str, dict[str, Any]]] = [
        ("message.created", {"client_id": "c1", "body": "naïve ❤\n\u2028"}),
        ("message.created", {"client_id": "c2", "body": "x", "edited_at": at}),
        ("message.created", {"client_id": "c3", "body": "", "deleted_at": at}),
        ("message.edited", {"client_id": "c4", "target": 1, "body": "other"}),
        ("message.edited", {"target": 1, "body": ""}),
        ("message.deleted", {"target": 2}),
        ("member.joined", {"user": BOB, "role": "member"}),
        ("member.role_changed", {"user": BOB, "role": "admin"}),
        ("member.left", {"user": BOB}),
        ("member.removed", {"user": BOB}),
    ]
    events = []
    for seq, (kind, fields) in enumerate(given, 1):
        event = model.Event(room=ROOM, seq=seq, kind=model.EventKind(kind), actor=ANN, at=at, **fields)
        shown = {name: value for name, value in fields.items() if not name.endswith("_at")}
        times = [name for name in fields if name.endswith("_at")]
        events.append({"kind": kind, "fields": shown, "times": times, "frame": _text(codec.encode(event))})
    entry = state.Entry(model.Choice.DND, False, "ill", NOW_S + 60.0, 3)
    changes = [
        service.Change("n1", 1, [ANN, BOB], [], entries={BOB: entry}),
        service.Change("n1", 2, [], [ANN], seen={ANN: NOW_S - 1.5}),
        service.Change("n1", 2, [], []),
        service.Change("n1", 3, [], [], gone=True),
    ]
    control = [
        nodes.SessionOver(SESSION),
        nodes.Told(ANN, "room.removed", '{"room":"r","reason":"left"}'),
        nodes.Expelled(BOB, ROOM, "removed", 10),
        *(nodes.PresenceChanged(service._encode(change)) for change in changes),
        nodes.Chosen(ANN, model.Choice.AWAY, "out", NOW_S + 60.0, 7),
        nodes.Gap(),
    ]
    messages = [nodes._encode(one) for one in control]
    sealer = envelope.Sealer(Ring(), SENDER)
    left = model.Event(room=ROOM, seq=7, kind=model.EventKind("member.left"), actor=ANN, at=at, user=ANN)
    signal = json.dumps({"room": ROOM, "user": ANN, "kind": "typing"}).encode()
    kinds = [
        ("rt:room:" + ROOM, "EVENTS", [codec.encode(left)], 7),
        ("rt:room:" + ROOM, "SIGNAL", [socketio.event_frame("signal", signal)], 0),
        ("rt:control", "CONTROL", messages[:1], 0),
        ("rt:node:x", "PROBE", [], 5),
        ("rt:control", "BEAT", [], 1),
    ]
    packed = [
        {"channel": channel, "kind": kind, "number": number, "frames": [_text(one) for one in parts],
         "data": _text(sealer.pack(channel, envelope.Kind[kind], parts, number))}
        for channel, kind, parts, number in kinds
    ]  # fmt: skip
    user = model.User(ANN, "ann", "Ann ❤")
    return {
        "release": release,
        "events": events,
        "control": [message.decode() for message in messages],
        "envelopes": packed,
        "token": tokens.issue(tokens.Claims("realtime", "realtime"), "kid", SECRET, user, SESSION, NOW_S, 900),
        "refresh_token": str(tokens.RefreshToken(SESSION, bytes(range(32)))),
    }


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    print(json.dumps(recorded(sys.argv[1]), indent=1))
