"""An extension that does everything that extenders may do, for the tests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import socketio

from realtime import errors
from realtime.gateway.ports import PRINCIPAL

if TYPE_CHECKING:
    from realtime.extensions.namespaces import Extensions

ECHO, ROOMS, OPEN, CLOSED, ACROSS = "/echo", "/rooms", "/open", "/closed", "/across"
gates: dict[str, asyncio.Event] = {}
"""What `wait` waits for, by the name that the client gave it."""
ends: list[tuple[str, str, str]] = []
"""(namespace, username, reason) of each disconnect that a handler was told of."""


class Rooms(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no types
    """Class-based, as many write it."""

    async def on_connect(self, sid: str, environ: dict[str, Any]) -> None:
        """Takes no `auth`: the client sent nothing besides its token."""
        await self.save_session(sid, {"name": environ[PRINCIPAL].user.username})

    async def on_join(self, sid: str, room: str) -> list[str]:
        await self.enter_room(sid, room)
        return [one for one in self.rooms(sid) if one != sid]

    async def on_leave(self, sid: str, room: str) -> None:
        await self.leave_room(sid, room)

    async def on_say(self, sid: str, room: str, *values: Any) -> None:
        name = (await self.get_session(sid))["name"]
        await self.emit("said", (name, *values), room=room, skip_sid=sid)

    async def on_go(self, sid: str) -> None:
        await self.disconnect(sid)

    async def on_disconnect(self, sid: str, reason: str) -> None:
        ends.append((ROOMS, (await self.get_session(sid))["name"], reason))


class Across(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no types
    """Does to others, by their sids, what extensions may do."""

    async def on_me(self, sid: str) -> str:
        return sid

    async def on_enter(self, _sid: str, other: str, room: str) -> None:
        await self.enter_room(other, room)

    async def on_leave(self, _sid: str, other: str, room: str) -> None:
        await self.leave_room(other, room)

    async def on_close(self, _sid: str, room: str) -> None:
        await self.close_room(room)

    async def on_tell(self, _sid: str, room: str | list[str] | None, skip: str | None, *values: Any) -> None:
        await self.emit("told", values, room=room, skip_sid=skip)

    async def on_ask(self, _sid: str, other: str, *values: Any) -> Any:
        try:
            return await self.call("question", values, to=other, timeout=20)
        except socketio.exceptions.DisconnectedError:
            return "gone"

    async def on_ask_back(self, sid: str, other: str, *values: Any) -> None:
        async def answered(*found: Any) -> None:
            await self.emit("answered", found, to=sid)

        await self.emit("question", values, to=other, callback=answered)

    async def on_kick(self, _sid: str, other: str) -> None:
        await self.disconnect(other)

    async def on_disconnect(self, _sid: str, reason: str) -> None:
        ends.append((ACROSS, "", reason))


def register(server: Extensions) -> None:
    server.register_namespace(Rooms(ROOMS))
    server.register_namespace(Across(ACROSS))

    @server.on("connect", namespace=ECHO)
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        # Behind the answer to the CONNECT on the wire, though it is emitted before.
        await server.emit("hello", {"auth": auth, "address": environ["REMOTE_ADDR"]}, to=sid, namespace=ECHO)

    @server.event(namespace=ECHO)
    async def echo(_sid: str, *values: Any) -> tuple[Any, ...]:
        return values

    @server.event(namespace=ECHO)
    def who(sid: str) -> str:  # a plain function will do
        principal = server.principal(sid, ECHO)
        assert principal is not None
        assert principal.user is not None
        return principal.user.username

    @server.event(namespace=ECHO)
    async def back(sid: str, *values: Any) -> None:
        await server.emit("back", values, to=sid, namespace=ECHO)

    @server.event(namespace=ECHO)
    async def ask(sid: str, *values: Any) -> Any:
        return await server.call("question", values, to=sid, namespace=ECHO, timeout=60)

    @server.event(namespace=ECHO)
    async def wait(_sid: str, name: str) -> str:
        await gates.setdefault(name, asyncio.Event()).wait()
        return name

    @server.event(namespace=ECHO)
    async def fail(_sid: str) -> None:
        raise RuntimeError("a bug in an extension")

    @server.event(namespace=ECHO)
    async def refuse(_sid: str) -> None:
        raise errors.Forbidden

    @server.event(namespace=ECHO)
    async def flood(sid: str, count: int, size: int) -> None:
        for _ in range(count):
            await server.emit("flood", b"x" * size, to=sid, namespace=ECHO)

    @server.on("disconnect", namespace=ECHO)
    async def disconnect(sid: str, reason: str) -> None:
        principal = server.principal(sid, ECHO)
        ends.append((ECHO, principal.user.username if principal and principal.user else "", reason))

    server.allow_anonymous(OPEN)

    @server.on("who", namespace=OPEN)
    def who_in_the_open(sid: str) -> Any:
        return server.principal(sid, OPEN)

    @server.on("connect", namespace=CLOSED)
    async def refuse_connect(_sid: str, _environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
        if auth == {"say": "bug"}:
            raise RuntimeError("a bug in an extension")
        if auth == {"say": "ours"}:
            raise errors.NotAMember
        raise socketio.exceptions.ConnectionRefusedError("not today", {"come": "tomorrow"})
