"""What each server's bytes mean, and what we send it."""

from __future__ import annotations

import json

import pytest

from loadtest.protocols import websocket
from loadtest.protocols.base import Acked, Closed, Delivered, Dialect, Greeted, Meaning, Ready, Reply, Subscribed, body_text
from loadtest.protocols.centrifugo import Centrifugo
from loadtest.protocols.names import DIALECTS
from loadtest.protocols.nats import Nats
from loadtest.protocols.socketio import Roomwire, SocketIo


def read(dialect: Dialect, text: str) -> list[Meaning]:
    return dialect.read(dialect.opcode, text.encode())


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":65536}', [Greeted()]),
        ("2", [Reply(b"3")]),
        ('40{"sid":"b"}', []),
        ('42["ready",{"user":{"id":"u"},"session":"s","node":"n","limits":{}}]', [Ready()]),
        ('42["message.created",{"kind":"message.created","room":"r","seq":7,"at":"x","actor":"a","client_id":"c","body":"12|xx"}]',
         [Delivered(7, 12)]),
        ('42["member.joined",{"kind":"member.joined","room":"r","seq":8,"at":"x","actor":"a","user":"u"}]', [Delivered(8, 0)]),
        ('42["signal",{"room":"r","user":"u","kind":"typing"}]', []),
        ('42["room.reset",{"room":"r","head_seq":9}]', [Subscribed(-1, 9, None)]),
        ('4312[{"ok":true,"seq":44,"at":"x"}]', [Acked(12, 44, "")]),
        ('4312[{"ok":false,"error":{"code":"rate_limited","message":"m","retryable":true}}]', [Acked(12, -1, "rate_limited")]),
        ('42["x.future",{"room":"r","seq":9,"kind":"x.future","actor":"a","at":"x","data":{"seq":77}}]', [Delivered(9, 0)]),
        ('430[{"ok":true,"rooms":[{"room":"r","head_seq":6,"role":"x.future","events":['
         '{"kind":"message.created","room":"r","seq":4,"at":"x","actor":"a","client_id":"c","body":"b"},'
         '{"room":"r","seq":5,"kind":"x.future","actor":"a","at":"x","data":{"seq":77}},'
         '{"kind":"member.left","room":"r","seq":6,"at":"x","actor":"a","user":"u"}]}]}]',
         [Subscribed(0, 6, [4, 5, 6])]),
        ('430[{"ok":true,"rooms":[{"room":"r","head_seq":5,"role":"member","reset":true}]}]', [Subscribed(0, 5, None)]),
        ('430[{"ok":true,"rooms":[{"room":"r","error":{"code":"room_not_found"}}]}]', [Acked(0, -1, "room_not_found")]),
        ('44{"message":"m","data":{"code":"token_expired"}}', [Closed("token_expired")]),
        ("41", [Closed("disconnected")]),
    ],
)  # fmt: skip
def test_roomwire_is_understood(text: str, meaning: list[Meaning]) -> None:
    assert read(Roomwire(), text) == meaning


def test_requests_are_socketio_events_with_an_ack() -> None:
    message = Roomwire().publish(3, "r", 0, body_text(5, 10)).decode()
    assert message.startswith("423[")
    name, payload = json.loads(message[3:])
    assert name == "message.send"
    assert payload.pop("client_id")
    assert payload == {"room": "r", "body": "5|xxxxxxxx"}


def test_client_ids_do_not_repeat() -> None:
    dialect = Roomwire()
    ids = {json.loads(dialect.publish(0, "r", 0, "b")[3:])[1]["client_id"] for _ in range(100)}
    assert len(ids) == 100


def test_a_peer_on_the_same_protocol_is_ready_without_an_account() -> None:
    assert read(SocketIo(), '40{"sid":"b"}') == [Ready()]


def test_nats_comes_in_pieces() -> None:
    dialect = Nats()
    assert read(dialect, 'INFO {"server_id":"x"}\r\n') == [Greeted()]
    assert read(dialect, "PONG\r\n") == [Ready()]
    dialect.subscribe(4, "room", None)
    assert read(dialect, "PONG\r\n") == [Subscribed(4, 0, [])]
    data = dialect.publish(0, "room", 3, body_text(9, 20)).split(b"\r\n")[1].decode()
    stream = f"MSG room 1 {len(data)}\r\n{data}\r\nPING\r\n"
    assert read(dialect, stream[:20]) == []
    assert read(dialect, stream[20:]) == [Delivered(3, 9), Reply(b"PONG\r\n")]


def test_centrifugo_puts_several_replies_into_a_frame() -> None:
    dialect = Centrifugo()
    assert read(dialect, '{"id":1,"connect":{"client":"x"}}') == [Ready()]
    dialect.subscribe(0, "room", None)
    lines = (
        '{"id":2,"subscribe":{}}\n{"push":{"channel":"room","pub":{"data":{"seq":2,"body":"7|x"}}}}\n{"id":3,"publish":{}}\n{}'
    )
    assert read(dialect, lines) == [Subscribed(0, 0, []), Delivered(2, 7), Acked(1, -1, ""), Reply(b"{}")]


def test_the_floor_sends_the_frame_that_all_receive() -> None:
    raw = DIALECTS["raw"]()
    frames, taken = websocket.server_frames(raw.publish(0, "room", 5, body_text(8, 100)))
    assert taken == len(raw.publish(0, "room", 5, body_text(8, 100)))
    assert raw.read(*frames[0]) == [Delivered(5, 8)]
    assert raw.read(websocket.TEXT, b"") == [Ready()]
