"""A namespace of your own beside the server's: boards that several people draw on.

    PYTHONPATH=examples ROOMWIRE_EXTENSIONS=board:register .venv/bin/roomwire serve

A client connects to `/board` with the access token that it has for `/`, and asks:

    open (board) -> {"ok": true}           and hears "came" (username) and "drawn" (username, stroke) from then on
    draw (board, stroke: bytes) -> {"ok": true}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import socketio

from realtime import errors

if TYPE_CHECKING:
    from realtime.extensions.namespaces import Extensions


class Board(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no types
    async def on_connect(self, sid: str, environ: dict[str, Any], auth: dict[str, Any] | None = None) -> None:
        # The access token was checked before this is called; this is whom it speaks for.
        await self.save_session(sid, {"name": environ["realtime.principal"].user.username})

    async def on_open(self, sid: str, board: str) -> dict[str, Any]:
        await self.enter_room(sid, board)
        name = (await self.get_session(sid))["name"]
        await self.emit("came", name, room=board, skip_sid=sid)  # this reaches the clients of all nodes and workers
        return {"ok": True}

    async def on_draw(self, sid: str, board: str, stroke: bytes) -> dict[str, Any]:
        if board not in self.rooms(sid):
            raise errors.NotSubscribed("Open the board first.")  # the ack says {"ok": false, "error": {...}}
        name = (await self.get_session(sid))["name"]
        await self.emit("drawn", (name, stroke), room=board, skip_sid=sid)
        return {"ok": True}


def register(server: Extensions) -> None:
    server.register_namespace(Board("/board"))
