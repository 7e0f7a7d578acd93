"""Our server's REST, as far as a load test needs it: accounts, rooms, messages. One connection, kept open."""

from __future__ import annotations

import http.client
import json
from typing import Any


class RestFailed(Exception):
    """The server answered something that stops the run.

    Args:
        retryable: Whether the server says that trying again may help.
    """

    def __init__(self, text: str, *, retryable: bool) -> None:
        super().__init__(text)
        self.retryable = retryable


class Rest:
    """REST on one server.

    Args:
        host, port: Of the server.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._connection = http.client.HTTPConnection(host, port, timeout=30)

    def close(self) -> None:
        self._connection.close()

    def call(self, method: str, path: str, body: Any = None, token: str = "") -> Any:
        """Send a request; `path` begins behind `/api/v1`.

        Raises:
            RestFailed: the answer is no success.
        """
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = json.dumps(body) if body is not None else None
        try:
            self._connection.request(method, f"/api/v1{path}", data, headers)
            answer = self._connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            self._connection.close()  # kept open too long; the next request opens it again
            self._connection.request(method, f"/api/v1{path}", data, headers)
            answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status not in (200, 201):
            what = f"{method} {path.partition('?')[0]} was answered {answer.status}: {text[:200]}"
            raise RestFailed(what, retryable='"retryable":true' in text)
        return json.loads(text) if text else None
