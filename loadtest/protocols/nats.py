"""NATS over WebSocket: the text protocol of NATS as a stream of bytes in binary frames."""

from __future__ import annotations

import json

from loadtest.protocols import websocket
from loadtest.protocols.base import Closed, Greeted, Meaning, Ready, Reply, Subscribed, delivered


class Nats:
    """A connection's own state is the bytes of a message that came in parts, so each connection has its own object."""

    numbers = False
    answers = False
    opcode = websocket.BINARY
    framed = True

    def __init__(self) -> None:
        self._unread = b""
        self._ready = False
        self._subscribing: int | None = None

    def request_line(self, authority: str, key: bytes) -> bytes:
        return websocket.upgrade_request(authority, "/", key)

    def opening(self, credential: str) -> bytes:
        return b""

    def hello(self, credential: str) -> bytes:
        return b'CONNECT {"verbose":false,"pedantic":false,"lang":"loadtest","version":"1","protocol":1}\r\nPING\r\n'

    def subscribe(self, request: int, room: str, since: int | None) -> bytes:
        self._subscribing = request
        return f"SUB {room} 1\r\nPING\r\n".encode()

    def publish(self, request: int, room: str, seq: int, body: str) -> bytes:
        data = json.dumps({"seq": seq, "body": body}, separators=(",", ":"))
        return f"PUB {room} {len(data)}\r\n{data}\r\n".encode()

    def echo(self, request: int, room: str, seq: int, body: str) -> bytes:
        return b""

    def renew(self, request: int, credential: str) -> bytes:
        return b""

    def read(self, opcode: int, payload: bytes) -> list[Meaning]:
        data = self._unread + payload
        meanings: list[Meaning] = []
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            verb = data[at : at + 4]
            if verb == b"MSG ":
                size = int(data[at:end].rpartition(b" ")[2])
                stop = end + 2 + size + 2
                if stop > len(data):
                    break
                meanings.append(delivered(data[end + 2 : stop - 2]))
                at = stop
                continue
            meanings += self._control(verb, data[at:end])
            at = end + 2
        self._unread = data[at:]
        return meanings

    def _control(self, verb: bytes, line: bytes) -> list[Meaning]:
        if verb == b"INFO":
            return [] if self._ready else [Greeted()]
        if verb == b"PING":
            return [Reply(b"PONG\r\n")]
        if verb == b"PONG":
            if not self._ready:
                self._ready = True
                return [Ready()]
            if self._subscribing is not None:
                request, self._subscribing = self._subscribing, None
                return [Subscribed(request, 0, [])]
            return []
        if verb == b"-ERR":
            return [Closed(line[5:].decode(errors="replace"))]
        return []
