"""The floor: a C program that copies what one connection sends to every connection. Bare TCP, ready-made frames."""

from __future__ import annotations

import json

from loadtest.protocols import websocket
from loadtest.protocols.base import Meaning, Ready, delivered


class Raw:
    """The sender builds the frame that all receive; the server only reads and sends."""

    numbers = False
    answers = False
    opcode = websocket.TEXT
    framed = False

    def request_line(self, authority: str, key: bytes) -> bytes:
        return b""

    def opening(self, credential: str) -> bytes:
        return b""

    def hello(self, credential: str) -> bytes:
        return b""

    def subscribe(self, request: int, room: str, since: int | None) -> bytes:
        return b""

    def publish(self, request: int, room: str, seq: int, body: str) -> bytes:
        payload = b'42["message.created",' + json.dumps({"seq": seq, "body": body}, separators=(",", ":")).encode() + b"]"
        payload = payload.ljust(_AS_LONG_AS_OURS)
        size = len(payload)
        return (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + payload

    def echo(self, request: int, room: str, seq: int, body: str) -> bytes:
        return b""

    def renew(self, request: int, credential: str) -> bytes:
        return b""

    def read(self, opcode: int, payload: bytes) -> list[Meaning]:
        # The empty frame is the server's word that it has taken the connection in: the kernel connects before that.
        return [delivered(payload)] if payload else [Ready()]


_AS_LONG_AS_OURS = 325
"""Bytes of a `message.created` of ours with a body of 100 characters: the floor moves as many."""
