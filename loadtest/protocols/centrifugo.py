"""Centrifugo's client protocol in JSON: commands with ids, replies, pushes; several in a frame are lines."""

from __future__ import annotations

import json

from loadtest.protocols import websocket
from loadtest.protocols.base import Acked, Closed, Meaning, Ready, Reply, Subscribed, delivered, number_after

_CONNECT_ID = 1


class Centrifugo:
    """Request ids are shifted by one: the first is the connection's own."""

    numbers = False
    answers = True
    opcode = websocket.TEXT
    framed = True

    def __init__(self) -> None:
        self._subscribing: int | None = None

    def request_line(self, authority: str, key: bytes) -> bytes:
        return websocket.upgrade_request(authority, "/connection/websocket", key)

    def opening(self, credential: str) -> bytes:
        return b'{"id":1,"connect":{}}'

    def hello(self, credential: str) -> bytes:
        return b""

    def subscribe(self, request: int, room: str, since: int | None) -> bytes:
        self._subscribing = request
        return f'{{"id":{request + 2},"subscribe":{{"channel":"{room}"}}}}'.encode()

    def publish(self, request: int, room: str, seq: int, body: str) -> bytes:
        return self._publish(request, room, seq, body)

    def echo(self, request: int, room: str, seq: int, body: str) -> bytes:
        # An RPC needs a backend of its own; the cheapest answered request is a publication that nobody receives.
        return self._publish(request, f"{room}-unheard", seq, body)

    def _publish(self, request: int, room: str, seq: int, body: str) -> bytes:
        data = json.dumps({"seq": seq, "body": body}, separators=(",", ":"))
        return f'{{"id":{request + 2},"publish":{{"channel":"{room}","data":{data}}}}}'.encode()

    def renew(self, request: int, credential: str) -> bytes:
        return b""

    def read(self, opcode: int, payload: bytes) -> list[Meaning]:
        return [meaning for line in payload.split(b"\n") if line for meaning in self._line(line)]

    def _line(self, line: bytes) -> list[Meaning]:
        if line.startswith(b'{"push"'):
            return [delivered(line)] if b'"pub"' in line else []
        if line == b"{}":
            return [Reply(b"{}")]
        number = number_after(line, b'"id":')
        if number < 0:
            return []
        if number == _CONNECT_ID:
            return [Closed("connect refused")] if b'"error"' in line[:20] else [Ready()]
        request = number - 2
        if b'"error":{' in line[:30]:
            return [Acked(request, -1, "refused")]
        if request == self._subscribing:
            self._subscribing = None
            return [Subscribed(request, 0, [])]
        return [Acked(request, -1, "")]
