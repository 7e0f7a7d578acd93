"""Clients that may break every rule: a WebSocket of which each bit can be chosen, and long polling request by request."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
PATH = "/socket.io/"
HANDSHAKE = {"EIO": "4", "transport": "polling"}

_LARGE_BYTES = 1 << 20  # aiohttp wants more than that as a stream


class Closed(Exception):
    """The server closed; `code` is from its close frame, None when there was none."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    """Encode a frame (RFC 6455 §5.2); clients mask theirs."""
    size = len(payload)
    mask_bit = 0x80 if masked else 0
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    if size < 126:
        head += bytes((mask_bit | size,))
    elif size < 1 << 16:
        head += bytes((mask_bit | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((mask_bit | 127,)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    key = (mask * (size // 4 + 1))[:size]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class RawSocket:
    """A WebSocket over a plain stream. A fixture closes what a test leaves open."""

    opened: ClassVar[list[RawSocket]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.opened.append(self)

    @classmethod
    async def upgrade(
        cls,
        url: str,
        query: str = "EIO=4&transport=websocket",
        headers: Mapping[str, str | None] | None = None,
        path: str = PATH,
        behind: bytes = b"",
    ) -> tuple[Self, int, dict[str, str]]:
        """Ask for a WebSocket; return the connection, the answer's status and its headers (names in lower case).

        Args:
            query: Of the URL.
            headers: Put in place of the right ones; None leaves one out.
            behind: Sent in the same segment.
        """
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 25)
        fields: dict[str, str | None] = {
            "Host": parts.netloc,
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            **(headers or {}),
        }
        lines = [f"GET {path}?{query} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items() if value is not None)]
        writer.write("\r\n".join([*lines, "", ""]).encode() + behind)
        async with asyncio.timeout(5):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        got = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        return cls(reader, writer), int(head[0].split()[1]), got

    @classmethod
    async def open(cls, url: str, query: str = "EIO=4&transport=websocket") -> Self:
        """Open a WebSocket."""
        socket, status, _ = await cls.upgrade(url, query)
        assert status == 101
        return socket

    def write(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(raw)

    def send(self, text: str) -> None:
        """Send a text message in one frame."""
        self.write(frame(text.encode()))

    async def receive(self, timeout_s: float = 5) -> tuple[int, bytes]:
        """Read a frame; return its opcode and payload."""
        async with asyncio.timeout(timeout_s):
            first, second = await self._reader.readexactly(2)
            assert first & 0xF0 == 0x80, "the server's frames are whole and have no reserved bits"
            assert second & 0x80 == 0, "the server's frames are not masked"  # RFC 6455 §5.1
            size = second
            if second >= 126:
                size = int.from_bytes(await self._reader.readexactly(2 if second == 126 else 8), "big")
            return first & 0x0F, await self._reader.readexactly(size)

    async def text(self, timeout_s: float = 5) -> str:
        """Read a text message. Raises Closed."""
        try:
            opcode, payload = await self.receive(timeout_s)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed(None) from error
        if opcode == CLOSE:
            raise Closed(int.from_bytes(payload[:2], "big") if payload else None)
        assert opcode == TEXT
        return payload.decode()

    async def close_code(self, timeout_s: float = 5) -> int | None:
        """Read on until the server closes, past whatever it sends before; return its code and see that it really went."""
        try:
            while True:
                await self.text(timeout_s)
        except Closed as closed:
            async with asyncio.timeout(timeout_s):
                assert await self._reader.read() == b"", "nothing follows a close frame"
            return closed.code

    def close(self) -> None:
        """Drop the connection without a farewell."""
        self._writer.transport.abort()

    @classmethod
    async def close_all(cls) -> None:
        """Drop all that are open, and wait until their loop has let them go."""
        while cls.opened:
            socket = cls.opened.pop()
            socket.close()
            with contextlib.suppress(ConnectionError):
                await socket._writer.wait_closed()

    # -- Socket.IO ----------------------------------------------------------------------------------

    async def enter(self, token: str) -> dict[str, Any]:
        """Read the open packet, connect to the namespace and return what `ready` says."""
        assert (await self.text()).startswith("0{")
        return await self.connect(token)

    async def connect(self, token: str) -> dict[str, Any]:
        """Connect to the namespace and return what `ready` says."""
        self.send("40" + json.dumps({"token": token}))
        assert (await self.text()).startswith('40{"sid":')
        ready = await self.text()
        assert ready.startswith('42["ready",')
        payload: dict[str, Any] = json.loads(ready[2:])[1]
        return payload

    async def ask(self, number: int, event: str, payload: Any = None) -> Any:
        """Send a request and return its ack, past whatever comes before it."""
        self.send(f"42{number}" + json.dumps([event] if payload is None else [event, payload]))
        return await self.ack(number)

    async def ack(self, number: int) -> Any:
        """Return an ack, past whatever comes before it."""
        head = f"43{number}["
        while not (text := await self.text()).startswith(head):
            assert text.startswith(("42[", "2")), text
        [answer] = json.loads(text[len(head) - 1 :])
        return answer

    async def is_alive(self) -> bool:
        """Tell whether a good request is answered."""
        answer = await self.ask(999_999, "presence.watch", {"users": []})
        return bool(answer["ok"])


class Reply(NamedTuple):
    """An answer to one request of Engine.IO."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def packets(self) -> list[str]:
        return self.body.decode().split("\x1e")

    @property
    def code(self) -> int:
        """The number of the error (Engine.IO's reference server)."""
        return int(json.loads(self.body)["code"])


class Polling:
    """A session over long polling."""

    def __init__(self, http: aiohttp.ClientSession, url: str, path: str = PATH) -> None:
        self._http = http
        self._url = url
        self._path = path
        self.sid = ""

    @property
    def query(self) -> dict[str, str]:
        """What every request of the session has in its URL."""
        return {**HANDSHAKE, "sid": self.sid}

    async def request(
        self, method: str, query: Mapping[str, str], body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """Send one request."""
        async with self._http.request(method, self._url + self._path, params=query, data=body, headers=headers) as answer:
            return Reply(answer.status, await answer.read(), answer.headers)

    async def open(self, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Open the session and return its handshake."""
        answer = await self.request("GET", HANDSHAKE, headers=headers)
        assert answer.status == 200, answer.body
        [packet] = answer.packets
        assert packet[0] == "0"
        handshake: dict[str, Any] = json.loads(packet[1:])
        self.sid = handshake["sid"]
        return handshake

    async def get(self, headers: Mapping[str, str] | None = None) -> Reply:
        """Poll once."""
        return await self.request("GET", self.query, headers=headers)

    async def post(self, *packets: str | bytes) -> Reply:
        """Send packets in one payload."""
        body = b"\x1e".join(packet.encode() if isinstance(packet, str) else packet for packet in packets)
        return await self.request("POST", self.query, io.BytesIO(body) if len(body) > _LARGE_BYTES else body)

    async def enter(self, token: str) -> list[str]:
        """Open, connect to the namespace, and return the packets of the first poll."""
        await self.open()
        assert (await self.post("40" + json.dumps({"token": token}))).status == 200
        return await self.until(lambda packet: packet.startswith('42["ready"'))

    async def until(self, found: Any) -> list[str]:
        """Poll until a packet fits; return everything that came."""
        packets: list[str] = []
        while not any(found(packet) for packet in packets):
            answer = await self.get()
            assert answer.status == 200, answer.body
            packets += answer.packets
        return packets

    async def is_gone(self) -> bool:
        """Tell whether the server does not know the session any more."""
        answer = await self.get()
        return answer.status == 400 and answer.code == 1

    async def socket(self) -> RawSocket:
        """Ask to move to a WebSocket."""
        return await RawSocket.open(self._url, f"EIO=4&transport=websocket&sid={self.sid}")
