"""Looks names up that others chose, on threads of its own, and passes on only addresses that may be reached."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

from realtime.outbound.addresses import refusal
from realtime.outbound.refusals import Reason, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.outbound.urls import Rules

    Found: TypeAlias = Sequence[tuple[int, int, int, str, Any]]  # as `socket.getaddrinfo` returns it
    LookUp: TypeAlias = Callable[[bytes, int], Found]

MAX_ADDRESSES = 4
"""Of one name. aiohttp tries all of them, and tries again what it tried: a name with a thousand would be a scan."""


def system_look_up(host: bytes, port: int) -> Found:
    """Ask the system."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


class Resolver(AbstractResolver):
    """The system's resolver behind the guard.

    The event loop's own is not used: libuv gives it four threads, which the connections to PostgreSQL and Redis need, and a name
    whose servers say nothing holds a thread for half a minute. Nothing waits for the threads here, not even the process's end.

    Args:
        rules: Which addresses are passed on.
        look_up: Blocks; run on a thread.
        threads: How many look-ups may be going on; more are refused.
    """

    def __init__(self, rules: Rules, look_up: LookUp = system_look_up, threads: int = 64) -> None:
        self._rules = rules
        self._look_up = look_up
        self._free = threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:  # fmt: skip
        """Return where a name leads, at most `MAX_ADDRESSES`.

        Raises:
            Refused: all of its addresses are forbidden, or too many names are being looked up.
            OSError: it has no address.
        """
        found = await self._found(host, port)
        kinds: list[str] = []
        results: list[ResolveResult] = []
        for of_family, _, proto, _, sockaddr in found:
            if family not in (socket.AF_UNSPEC, of_family) or of_family not in (socket.AF_INET, socket.AF_INET6):
                continue
            if kind := refusal_of(sockaddr, self._rules):
                kinds.append(kind)
            else:
                results.append(
                    ResolveResult(
                        hostname=host,
                        host=sockaddr[0],
                        port=port,
                        family=of_family,
                        proto=proto,
                        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                    )
                )
        if not results:
            raise Refused(Reason.ADDRESS, kinds[0]) if kinds else OSError(socket.EAI_NONAME, "no address")
        return _few(results)

    async def close(self) -> None:
        """Wait for nothing: look-ups that are going on end by themselves."""

    async def _found(self, host: str, port: int) -> Found:
        if not self._free:
            raise Refused(Reason.OVERLOADED)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()

        def over(found: Found, error: OSError | None) -> None:
            self._free += 1
            if answer.done():
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        def work() -> None:
            found: Found = []
            error: OSError | None = None
            try:
                found = self._look_up(host.encode("ascii"), port)
            except (OSError, ValueError) as caught:
                error = caught if isinstance(caught, OSError) else OSError(socket.EAI_NONAME, "no name")
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(over, found, error)

        threading.Thread(target=work, name="outbound name", daemon=True).start()
        self._free -= 1
        return await answer


def _few(results: list[ResolveResult]) -> list[ResolveResult]:
    """Leave a few, in their order, and some of each family: one of them may lead nowhere from here."""
    by_family = Counter(one["family"] for one in results)
    most = MAX_ADDRESSES // len(by_family)
    taken: Counter[int] = Counter()
    few = []
    for one in results:
        taken[one["family"]] += 1
        if taken[one["family"]] <= most:
            few.append(one)
    return few


def refusal_of(sockaddr: Any, rules: Rules) -> str:
    """Say why an address of the socket layer may not be reached; empty: it may."""
    host, zone = sockaddr[0], sockaddr[3] if len(sockaddr) > 3 else 0
    if zone:
        return "zone"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "spelling"
    return refusal(address, rules.networks)
