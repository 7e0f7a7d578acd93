"""Roomwire itself: one node with its own PostgreSQL (fsync on, as in production) and Redis, or one that runs already."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
import urllib.parse
from typing import TYPE_CHECKING, Self

from loadtest.measure import prometheus
from loadtest.peers import base
from loadtest.peers.base import Peer, Unavailable
from loadtest.peers.rest import Rest, RestFailed

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping, Sequence

_MANY = "1000000"
LIMITS = (
    "connections-per-user",
    "connections-per-address",
    "connections-per-node",
    "connect-rate",
    "request-rate",
    "request-burst",
    "send-rate",
    "send-burst",
    "rooms-per-hour",
    "rooms-burst",
    "memberships-per-min",
    "memberships-burst",
    "rejoins-burst",
    "changes-per-min",
    "changes-burst",
    "rooms-per-user",
    "rooms-owned-per-user",
    "login-rate-per-min",
    "register-rate-per-min",
)
"""Limits that protect a server from one client: here one address is everybody and an account many people."""
PASSWORD_BYTES = 18
_ATTEMPTS, _PAUSE_S = 20, 0.25
_BEFORE = re.compile(r"^realtime_", re.MULTILINE)
"""What the names of metrics began with up to 0.2: releases of before are measured too."""


class Account:
    """Somebody who has signed in."""

    def __init__(self, answer: dict[str, object]) -> None:
        self.token = str(answer["access_token"])
        self.refresh_token = str(answer["refresh_token"])


class Roomwire(Peer):
    """`roomwire serve`, started for the run.

    Args:
        flags: More of its flags, name to value.
    """

    name = "roomwire"
    dialect = "roomwire"
    can = frozenset({"connect", "idle", "fanout", "request", "chat", "storm", "slow", "soak"})

    def __init__(self, flags: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._flags = dict(flags or {})
        self._accounts: list[Account] = []
        self._rest: Rest | None = None
        self.repeated_sends = 0

    def install(self) -> None:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=base.ROOT, capture_output=True, text=True, check=False)
        self.version = done.stdout.strip() or "without git"

    def environment(self) -> Mapping[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith(("ROOMWIRE_", "REALTIME_"))}

    def command(self, folder: pathlib.Path) -> Sequence[str]:
        flags = dict.fromkeys(LIMITS, _MANY) | {
            "send-bytes-per-day": str(1 << 50),
            "host": self.host, "port": str(self.port), "data-dir": str(folder / "data"), "log-level": "warning",
            "metrics-networks": "127.0.0.0/8",
        } | self._flags  # fmt: skip
        return [
            sys.executable,
            "-m",
            "realtime",
            "serve",
            *(part for name, value in flags.items() for part in (f"--{name}", value)),
        ]

    def _is_there(self) -> bool:
        try:
            return "ok" in base.get(self.host, self.port, "/readyz")
        except OSError:
            return False

    def started(self) -> None:
        self._rest = Rest(self.host, self.port)
        self._accounts = []

    def __exit__(self, *_: object) -> None:
        if self._rest is not None:
            self._rest.close()
        super().__exit__()

    @property
    def rest(self) -> Rest:
        assert self._rest is not None
        return self._rest

    def credentials(self, count: int) -> list[str]:
        while len(self._accounts) < count:
            name = f"load{len(self._accounts)}-{secrets.token_hex(4)}"
            answer = self.rest.call(
                "POST", "/auth/register", {"username": name, "password": secrets.token_urlsafe(PASSWORD_BYTES)}
            )
            self._accounts.append(Account(answer))
        return [account.token for account in self._accounts[:count]]

    def renew(self) -> dict[str, str]:
        """Get a new token for every account; return the new by the old."""
        renewed = {}
        for number, account in enumerate(self._accounts):
            new = Account(self.rest.call("POST", "/auth/refresh", {"refresh_token": account.refresh_token}))
            renewed[account.token] = new.token
            self._accounts[number] = new
        return renewed

    def rooms(self, count: int, credentials: Sequence[str]) -> list[str]:
        rooms = [
            str(self.rest.call("POST", "/rooms", {"kind": "public", "name": f"Load {number}"}, credentials[0])["id"])
            for number in range(count)
        ]
        for token in credentials[1:]:
            for room in rooms:
                self.rest.call("POST", f"/rooms/{room}/join", token=token)
        return rooms

    def send(self, room: str) -> int:
        """Send a message over REST, again with the same id where the server says that it helps; return its seq."""
        body = {"client_id": f"rest-{secrets.token_hex(10)}", "body": "0|" + "x" * 98}
        for attempt in range(_ATTEMPTS):
            try:
                answer = self.rest.call("POST", f"/rooms/{room}/messages", body, self._accounts[0].token)
            except RestFailed as failure:
                if not failure.retryable or attempt == _ATTEMPTS - 1:
                    raise
                self.repeated_sends += 1
                time.sleep(_PAUSE_S)
            else:
                return int(answer["seq"])
        raise AssertionError("the last attempt returns or raises")

    def heads(self, rooms: Sequence[str]) -> dict[str, int]:
        token = self._accounts[0].token
        return {room: int(self.rest.call("GET", f"/rooms/{room}", token=token)["head_seq"]) for room in rooms}

    def metrics(self) -> prometheus.Page | None:
        page = base.get(self.host, self.port, "/metrics")
        return prometheus.parse(_BEFORE.sub("roomwire_", page))


class Elsewhere(Roomwire):
    """A server that runs already.

    Args:
        url: Its address.
        pid: Its process on this machine; None when CPU and memory cannot be seen.
    """

    def __init__(self, url: str, pid: int | None) -> None:
        super().__init__()
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise Unavailable(f"{url} is not an address such as http://127.0.0.1:8000")
        self.host, self.port = parts.hostname, parts.port or 80
        self._pid = pid

    def install(self) -> None:
        self.version = "at " + self.host

    def __enter__(self) -> Self:
        if not self._is_there():
            raise Unavailable(f"nothing is ready at http://{self.host}:{self.port}")
        self.started()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest.close()

    @property
    def pid(self) -> int | None:
        return self._pid
