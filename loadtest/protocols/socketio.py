"""Socket.IO 5 in Engine.IO 4: what our server speaks, and what the peers on the same protocol speak."""

from __future__ import annotations

import json
import os
import re

from loadtest.protocols import websocket
from loadtest.protocols.base import Acked, Closed, Greeted, Meaning, Ready, Reply, Subscribed, delivered, number_after

_SEQS = re.compile(rb'"room":"[^"]*","seq":(\d+)')  # of events, whatever a kind of a newer release has in its `data`
_CODE = re.compile(rb'"code":"([a-z_]+)"')
_ACK = re.compile(rb"43(\d+)\[")


class SocketIo:
    """Common to all of them. A peer's server takes the same events and acks as ours, but for accounts and numbers."""

    numbers = False
    answers = True
    opcode = websocket.TEXT
    framed = True

    def __init__(self) -> None:
        self._client = os.urandom(6).hex()
        self._sent = 0

    def request_line(self, authority: str, key: bytes) -> bytes:
        return websocket.upgrade_request(authority, "/socket.io/?EIO=4&transport=websocket", key)

    def opening(self, credential: str) -> bytes:
        return b""

    def hello(self, credential: str) -> bytes:
        return b"40"

    def subscribe(self, request: int, room: str, since: int | None) -> bytes:
        wanted = {"room": room} if since is None else {"room": room, "since": since}
        return f'42{request}["room.subscribe",{json.dumps({"rooms": [wanted]})}]'.encode()

    def publish(self, request: int, room: str, seq: int, body: str) -> bytes:
        return self._message("message.send", request, room, f'"seq":{seq},"body":"{body}"')

    def echo(self, request: int, room: str, seq: int, body: str) -> bytes:
        return self._message("echo", request, room, f'"seq":{seq},"body":"{body}"')

    def _message(self, event: str, request: int, room: str, rest: str) -> bytes:
        self._sent += 1
        return f'42{request}["{event}",{{"room":"{room}","client_id":"{self._client}-{self._sent}",{rest}}}]'.encode()

    def renew(self, request: int, credential: str) -> bytes:
        return b""

    def read(self, opcode: int, payload: bytes) -> list[Meaning]:
        first = payload[:2]
        if first == b"42":
            return self._event(payload)
        if first == b"43":
            return [self._ack(payload)]
        if first == b"40":
            return self._connected()
        if first[:1] == b"2":
            return [Reply(b"3")]
        if first[:1] == b"0":
            return [Greeted()]
        if first == b"44":
            return [Closed(_code(payload) or "connect_error")]
        if first in (b"41", b"1"):
            return [Closed("disconnected")]
        return []

    def _connected(self) -> list[Meaning]:
        return [Ready()]

    def _event(self, payload: bytes) -> list[Meaning]:
        return [delivered(payload)] if payload.startswith(b'42["message.created"') else []

    def _ack(self, payload: bytes) -> Meaning:
        found = _ACK.match(payload)
        if found is None:
            return Closed("an ack without an id")
        request = int(found[1])
        if payload.find(b'"ok":true') < 0:
            return Acked(request, -1, _code(payload) or "refused")
        head = number_after(payload, b'"head_seq":')
        if head >= 0:
            events = None if payload.find(b'"reset":true') >= 0 else [int(seq) for seq in _SEQS.findall(payload)]
            return Subscribed(request, head, events)
        if payload.find(b'"rooms":') >= 0:
            return Acked(request, -1, _code(payload) or "refused")
        return Acked(request, number_after(payload, b'"seq":'), "")


class Roomwire(SocketIo):
    """Ours: a token at CONNECT, `ready` when it was good, numbers from the server, acks that mean committed."""

    numbers = True

    def hello(self, credential: str) -> bytes:
        return f'40{{"token":"{credential}"}}'.encode()

    def publish(self, request: int, room: str, seq: int, body: str) -> bytes:
        return self._message("message.send", request, room, f'"body":"{body}"')

    def echo(self, request: int, room: str, seq: int, body: str) -> bytes:
        return self.publish(request, room, seq, body)

    def renew(self, request: int, credential: str) -> bytes:
        return f'42{request}["auth.refresh",{{"token":"{credential}"}}]'.encode()

    def _connected(self) -> list[Meaning]:
        return []

    def _event(self, payload: bytes) -> list[Meaning]:
        # Every numbered event counts for the order, whatever its kind; what has no number is no event of a room.
        event = delivered(payload)
        if event.seq >= 0:
            return [event]
        if payload.startswith(b'42["ready"'):
            return [Ready()]
        if payload.startswith(b'42["room.reset"'):
            return [Subscribed(-1, number_after(payload, b'"head_seq":'), None)]
        return []


def _code(payload: bytes) -> str:
    found = _CODE.search(payload)
    return found[1].decode() if found else ""
