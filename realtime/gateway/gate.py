"""The gate that every HTTP request passes: so many begin in a turn of the loop, every address has its share, and no answer is
made for readers who leave too much of their answers unread.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from aiohttp import web

from realtime import errors
from realtime.address import address_key
from realtime.gateway.http_lines import HttpLine

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from aiohttp.typedefs import Handler, Middleware

    from realtime.gateway.http_lines import HttpLines
    from realtime.limits import Buckets

AT_ONCE = 4
"""Requests that begin in one turn of the loop, 0.2 to 0.3 ms each; the others in the next ones, by turns of their addresses."""


class Gate:
    """Lets requests begin.

    Args:
        client_address: Tells whom a request counts for, by the address of its TCP connection and its X-Forwarded-For.
        per_address: What an address may ask; above it a request begins later, and the connection is not read meanwhile.
        unsent_limit_bytes: Of answers that the readers of one user or address have not taken; beyond it they get no more.
        refuse: Makes the answer to a refusal.
        user: Tells whose a request was, after it was handled; None: nobody's.

    Attributes:
        lines: The connections; None: nobody knows what is unread.
    """

    def __init__(
        self,
        client_address: Callable[[str, str | None], str],
        per_address: Buckets,
        unsent_limit_bytes: int,
        refuse: Callable[[errors.RealtimeError], web.Response],
        user: Callable[[web.Request], Hashable | None],
    ) -> None:
        self.lines: HttpLines | None = None
        self._client_address = client_address
        self._per_address = per_address
        self._unsent_limit_bytes = unsent_limit_bytes
        self._refuse = refuse
        self._user = user
        self._begun = 0  # in this turn
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    def middleware(self) -> Middleware:
        """Return what an aiohttp application calls around every handler."""

        @web.middleware
        async def pass_gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
            address = self._client_address(request.remote or "", forwarded)
            line = request.transport
            if not isinstance(line, HttpLine):
                return await handler(request)
            line.begun(address)
            key = address_key(address)
            try:
                await self._enter(key)
                if self._leaves_unread(key, 0):
                    return self._refuse(_unread())
                response = await handler(request)
            finally:
                line.ended(self._user(request))
            if response.prepared:
                return response
            size = len(response.body) if isinstance(response, web.Response) and isinstance(response.body, bytes) else 0
            if self._leaves_unread(key, size) or self._leaves_unread(self._user(request), size):
                return self._refuse(_unread())
            return response

        return pass_gate

    def _leaves_unread(self, who: Hashable | None, more: int) -> bool:
        if self.lines is None or who is None:
            return False
        unsent = self.lines.unsent_bytes(who)
        return bool(unsent) and unsent + more > self._unsent_limit_bytes

    async def _enter(self, key: str) -> None:
        """Wait until a request of this address may begin."""
        owed_s = self._per_address.book(key, time.monotonic())
        if owed_s > 0:
            await asyncio.sleep(owed_s)
        if not self._waiting and self._begun < AT_ONCE:
            if not self._begun:
                asyncio.get_running_loop().call_soon(self._next_turn)
            self._begun += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        await turn

    def _next_turn(self) -> None:
        self._begun = 0
        while self._waiting and self._begun < AT_ONCE:
            key, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[key] = turns  # behind the other addresses
            if not turn.done():
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)


def _unread() -> errors.RealtimeError:
    return errors.RateLimited("Too much of earlier answers was not read; read them, then try again.", retry_after_ms=1000)
