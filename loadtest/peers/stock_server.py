"""python-socketio as its documentation has it, on aiohttp and uvloop: rooms, an echo with an ack, nothing stored.

Run: python stock_server.py PORT
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import socketio
import uvloop
from aiohttp import web

server = socketio.AsyncServer(async_mode="aiohttp", ping_interval=25, ping_timeout=20)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@server.on("room.subscribe")  # type: ignore[untyped-decorator]
async def subscribe(sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    rooms = [one["room"] for one in payload["rooms"]]
    for room in rooms:
        await server.enter_room(sid, room)
    return {"ok": True, "rooms": [{"room": room, "head_seq": 0, "events": []} for room in rooms]}


@server.on("message.send")  # type: ignore[untyped-decorator]
async def send(_sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    at, seq = _now(), payload["seq"]
    event = payload | {"kind": "message.created", "at": at, "actor": "01890a5d-ac96-774b-bcce-b302099a8057"}
    await server.emit("message.created", event, room=payload["room"])
    return {"ok": True, "seq": seq, "at": at}


@server.on("echo")  # type: ignore[untyped-decorator]
async def echo(_sid: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "seq": payload["seq"], "at": _now()}


def main(port: int) -> None:
    """Serve until a signal."""
    app = web.Application()
    server.attach(app)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, backlog=4096, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(int(sys.argv[1]))
