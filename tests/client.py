"""What tests talk to the server with: REST over aiohttp, sockets over python-socketio's client. All of it is checked
against the contract on the way."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import socketio

from tests import contract

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "correct horse battery"
_numbers = itertools.count()

open_sockets: set[Socket] = set()
"""What tests must close: the sessions of forgotten ones warn whenever the garbage is collected, in any later test."""


def unique(prefix: str = "u") -> str:
    """Return a name that nobody has."""
    return f"{prefix}{next(_numbers)}-{os.urandom(4).hex()}"


class Answer:
    """The answer to a REST request."""

    def __init__(self, status: int, headers: Any, json: Any) -> None:
        self.status = status
        self.headers = headers
        self.json = json

    @property
    def code(self) -> str:
        return str(self.json["code"])


class Api:
    """REST on one node.

    Args:
        url: Of the node.
        address: What the client's address shall be, by X-Forwarded-For, where the node trusts loopback.
    """

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url

    async def request(
        self, method: str, path: str, json: Any = None, *, token: str | None = None, raw: bytes | None = None,
        headers: dict[str, str] | None = None, expect: int | None = None,
    ) -> Answer:  # fmt: skip
        """Send a request; `path` begins behind `/api/v1`."""
        all_headers = dict(headers or {})
        if token is not None:
            all_headers["Authorization"] = f"Bearer {token}"
        if raw is not None:
            all_headers.setdefault("Content-Type", "application/json")
        async with self.http.request(
            method, f"{self.url}/api/v1{path}", json=json if raw is None else None, data=raw, headers=all_headers
        ) as response:
            body = await response.read()
            contract.check_response(
                method, f"/api/v1{path.partition('?')[0]}", response.status, response.headers.get("Content-Type", ""), body
            )
            answer = Answer(response.status, response.headers, await response.json(content_type=None) if body else None)
        if expect is not None:
            assert answer.status == expect, (answer.status, answer.json)
        return answer

    async def register(self, username: str | None = None, password: str = PASSWORD) -> Person:
        """Make an account."""
        name = username or unique()
        answer = await self.request("POST", "/auth/register", {"username": name, "password": password}, expect=201)
        return Person(self, answer.json)


class Person:
    """Somebody who has signed in."""

    def __init__(self, api: Api, signed_in: dict[str, Any]) -> None:
        self.api = api
        self.id: str = signed_in["user"]["id"]
        self.username: str = signed_in["user"]["username"]
        self.token: str = signed_in["access_token"]
        self.refresh_token: str = signed_in["refresh_token"]

    def at(self, url: str) -> Person:
        """Return the same person, talking to another node."""
        other = Person.__new__(Person)
        other.__dict__ |= self.__dict__
        other.api = Api(self.api.http, url)
        return other

    async def request(self, method: str, path: str, json: Any = None, *, expect: int | None = None, **more: Any) -> Answer:
        return await self.api.request(method, path, json, token=self.token, expect=expect, **more)

    async def get(self, path: str, expect: int | None = 200) -> Any:
        return (await self.request("GET", path, expect=expect)).json

    async def room(self, kind: str = "public", name: str | None = "A room", members: list[Person] | None = None) -> str:
        """Make a room and return its id."""
        body: dict[str, Any] = {"kind": kind, "members": [one.id for one in members or []]}
        if kind != "direct":
            body["name"] = name
        return str((await self.request("POST", "/rooms", body)).json["id"])

    async def send(self, room: str, body: str = "hello", client_id: str | None = None) -> int:
        """Send over REST; return the seq."""
        answer = await self.request("POST", f"/rooms/{room}/messages", {"client_id": client_id or unique("c"), "body": body})
        assert answer.status in (200, 201), answer.json
        return int(answer.json["seq"])

    async def connect(self, transports: list[str] | None = None, token: str | None = None) -> Socket:
        """Open a socket and wait until it is ready."""
        socket = Socket()
        await socket.open(self.api.url, self.token if token is None else token, transports)
        return socket


class Refused(Exception):
    """A request was refused; `code` is the error's."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["code"])
        self.code: str = error["code"]
        self.error = error


class Socket:
    """A Socket.IO connection that remembers everything it got, in order."""

    def __init__(self) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.http: aiohttp.ClientSession | None = None
        self.got: list[tuple[str, Any]] = []
        self.failures: list[BaseException] = []
        self._changed = asyncio.Event()
        self.client.on("*", self._take)
        self.client.on("disconnect", self._gone)
        self.gone = asyncio.Event()

    async def open(self, url: str, token: str, transports: list[str] | None = None) -> Self:
        # The client would make one of its own, and leaves it open when the server ends a polling session.
        self.http = self.client.eio.http = aiohttp.ClientSession()
        self.client.eio.external_http = True
        open_sockets.add(self)
        await self.client.connect(url, auth={"token": token}, transports=transports, wait_timeout=5)
        await self.wait(lambda: "ready" in self.names)
        return self

    async def close(self) -> None:
        await self.client.disconnect()
        if self.http is not None:
            await self.http.close()
        open_sockets.discard(self)
        if self.failures:
            raise self.failures[0]

    def _take(self, name: str, payload: Any = None) -> None:
        try:
            contract.check_event(name, payload)
        except BaseException as failure:  # noqa: BLE001 - told when the test closes the socket
            self.failures.append(failure)
        self.got.append((name, payload))
        self._changed.set()

    def _gone(self, *_: object) -> None:
        self.gone.set()
        self._changed.set()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.got]

    def payloads(self, name: str) -> list[Any]:
        """Return what came under one event name."""
        return [payload for got, payload in self.got if got == name]

    def events(self, room: str) -> list[Any]:
        """Return the numbered events of a room."""
        return [payload for _, payload in self.got if payload and payload.get("room") == room and "seq" in payload]

    def seqs(self, room: str) -> list[int]:
        return [event["seq"] for event in self.events(room)]

    async def wait(self, true: Callable[[], bool], timeout_s: float = 5) -> None:
        """Return when the condition holds, looked at after everything that comes."""
        async with asyncio.timeout(timeout_s):
            while not true():
                self._changed.clear()
                await self._changed.wait()
        if self.failures:
            raise self.failures[0]

    async def wait_for(self, name: str, count: int = 1, timeout_s: float = 5) -> None:
        """Return when an event came that often."""
        await self.wait(lambda: self.names.count(name) >= count, timeout_s)

    async def wait_events(self, room: str, count: int, timeout_s: float = 5) -> None:
        """Return when that many numbered events of a room came."""
        await self.wait(lambda: len(self.events(room)) >= count, timeout_s)

    async def ask(self, name: str, payload: Any = None) -> Any:
        """Send a request and return its ack, whatever it says."""
        answer = await self.client.call(name, payload, timeout=10)
        contract.check_ack(name, answer)
        return answer

    async def call(self, name: str, payload: Any = None) -> Any:
        """Send a request and return its ack; raise Refused when it is no."""
        answer = await self.ask(name, payload)
        if not answer["ok"]:
            raise Refused(answer["error"])
        return answer

    async def subscribe(self, room: str, since: int | None = None) -> Any:
        """Subscribe to one room and return its part of the ack."""
        wanted: dict[str, Any] = {"room": room}
        if since is not None:
            wanted["since"] = since
        [answer] = (await self.call("room.subscribe", {"rooms": [wanted]}))["rooms"]
        return answer

    async def send(self, room: str, body: str = "hello", client_id: str | None = None) -> int:
        """Send a message and return its seq."""
        answer = await self.call("message.send", {"room": room, "client_id": client_id or unique("c"), "body": body})
        return int(answer["seq"])
