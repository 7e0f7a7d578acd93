"""The official JavaScript client, with the same face as `tests.client.Socket`: what it gets is held against the contract."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import pathlib
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests import contract
from tests.client import Socket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = pathlib.Path(__file__).parents[2]
DRIVER = pathlib.Path(__file__).parent / "js" / "driver.cjs"
NODE = pathlib.Path(sys.executable).parent / "node"
QUICK = {"reconnectionDelay": 50, "reconnectionDelayMax": 200}
"""Options that keep the client's pauses short; everything else stays as it comes."""


class Official(Socket):
    """One client in the driver's process.

    Attributes:
        lives: What the client said of its connection, in order: open, upgrade, connect, connect_error, disconnect, reconnect.
    """

    def __init__(self, driver: Driver, name: str) -> None:
        super().__init__()
        self.client = self
        self.lives: list[dict[str, Any]] = []
        self._driver = driver
        self.name = name
        self._asked = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    def said(self, life: str) -> list[dict[str, Any]]:
        """Return what was said under one name."""
        return [one for one in self.lives if one["life"] == life]

    async def until(self, life: str, count: int = 1, timeout_s: float = 10) -> dict[str, Any]:
        """Wait until the client has said this so many times; return what it said then."""
        await self.wait(lambda: len(self.said(life)) >= count, timeout_s)
        return self.said(life)[count - 1]

    async def ready(self, count: int = 1) -> None:
        """Wait until the server has greeted so many times."""
        await self.wait(lambda: self.names.count("ready") >= count, 10)

    # What `Socket` wants of a client.

    async def call(self, name: str, payload: Any = None, timeout: float | None = None) -> Any:
        if timeout is None:
            return await super().call(name, payload)
        return await self._ask(timeout, {"do": "ask", "event": name} | ({} if payload is None else {"payload": payload}))

    async def disconnect(self) -> None:
        self._driver.tell({"do": "close", "socket": self.name})

    async def ask_with_bytes(self, name: str) -> Any:
        """Send a request with binary fields; return its ack."""
        answer = await self._ask(10, {"do": "askWithBytes", "event": name})
        contract.check_ack(name, answer)
        return answer

    async def _ask(self, timeout_s: float, command: dict[str, Any]) -> Any:
        number = next(self._asked)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        self._driver.tell({**command, "socket": self.name, "id": number})
        return await asyncio.wait_for(answer, timeout_s)

    def renew(self, token: str) -> None:
        """Let the client show another token from the next connect on."""
        self._driver.tell({"do": "renew", "socket": self.name, "token": token})

    def reopen(self) -> None:
        """Connect again after a disconnect that was meant to be final."""
        self._driver.tell({"do": "reopen", "socket": self.name})

    def heard(self, line: dict[str, Any]) -> None:
        """Take a line of the driver."""
        if "event" in line:
            self._take(line["event"], *line["payload"])
        elif "ack" in line:
            answer = self._answers.pop(line["ack"])
            if not answer.done():  # who asked may have given up
                answer.set_result(line["answer"])
        else:
            self.lives.append(line)
            if line["life"] == "disconnect":
                self._gone()
            self._changed.set()


class Stranger(Official):
    """A client of a namespace of which the contract knows nothing. It acks whatever it is asked with the same values."""

    def _take(self, name: str, *values: Any) -> None:
        self.got.append((name, revive(list(values))))
        self._changed.set()

    async def values(self, event: str, *values: Any) -> list[Any]:
        """Emit an event; return the values of its ack."""
        answer: list[Any] = revive(await self._ask(10, {"do": "call", "event": event, "values": plain(list(values))}))
        return answer


def plain(value: Any) -> Any:
    """Write bytes as JSON can say them."""
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def revive(value: Any) -> Any:
    """Undo `plain`."""
    if isinstance(value, list):
        return [revive(one) for one in value]
    if not isinstance(value, dict):
        return value
    return base64.b64decode(value["$bytes"]) if "$bytes" in value else {key: revive(one) for key, one in value.items()}


class Driver:
    """A process of Node with official clients in it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._clients: dict[str, Official] = {}

    def open(
        self, url: str, token: str | None, transports: list[str] | None = None, *, beside: Official | None = None, **options: Any
    ) -> Official:
        """Make a client and let it connect; without `transports` it does as it does by default.

        Args:
            url: May have the path of a namespace.
            beside: Another client, on whose connection it goes.
        """
        name = f"s{len(self._clients)}"
        kind = Stranger if urlsplit(url).path not in ("", "/") else Official
        client = self._clients[name] = kind(self, name)
        options = {**QUICK, **options} | ({} if transports is None else {"transports": transports})
        more = {} if beside is None else {"beside": beside.name}
        self.tell({"do": "open", "socket": name, "url": url, "token": token, "options": options, **more})
        return client

    def tell(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None  # it is a pipe
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def listen(self) -> None:
        """Hand out what the process says until it ends."""
        assert self._process.stdout is not None  # it is a pipe
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            self._clients[said["socket"]].heard(said)

    def check(self) -> None:
        """Fail for what a client got that the contract does not know."""
        for client in self._clients.values():
            if client.failures:
                raise client.failures[0]


@contextlib.asynccontextmanager
async def driving() -> AsyncIterator[Driver]:
    """Run a driver; it ends with all its clients."""
    process = await asyncio.create_subprocess_exec(
        str(NODE), str(DRIVER), env={**os.environ, "NODE_PATH": str(ROOT / "web" / "node_modules")},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 22,
    )  # fmt: skip
    driver = Driver(process)
    listening = asyncio.create_task(driver.listen())
    try:
        yield driver
        driver.check()
    finally:
        assert process.stdin is not None  # it is a pipe
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 10)
        await listening
