# pip install "python-socketio[asyncio_client]"
# python chat.py http://127.0.0.1:8000 anna "a good password" [room]
import asyncio
import json
import sys
import uuid
from typing import Any

import aiohttp
import socketio


async def main(url: str, username: str, password: str, given: str = "") -> None:
    async with aiohttp.ClientSession(f"{url}/api/v1/") as http:

        async def post(path: str, body: dict[str, str]) -> Any:
            answer = await http.post(path, json=body)
            return await answer.json() if answer.ok else sys.exit(await answer.text())

        account = await post("auth/login", {"username": username, "password": password})
        http.headers["Authorization"] = f"Bearer {account['access_token']}"
        found = await (post(f"rooms/{given}/join", {}) if given else post("rooms", {"kind": "public", "name": "Lobby"}))

    room, since = found["id"], 0  # `since`: how far we hold the room
    client = socketio.AsyncClient()

    async def show(name: str, payload: dict[str, Any]) -> None:
        nonlocal since
        if payload.get("room") == room and "seq" in payload:
            since = payload["seq"]
        print(name, json.dumps(payload), flush=True)
        if name == "ready":  # after every reconnect too: first what we missed, then what comes
            await client.emit("room.subscribe", {"rooms": [{"room": room, "since": since}]}, callback=subscribed)

    async def subscribed(answer: dict[str, Any]) -> None:
        for event in answer["rooms"][0].get("events", []):
            await show(event["kind"], event)

    client.on("*", show)
    await client.connect(url, auth={"token": account["access_token"]})
    message = {"room": room, "client_id": str(uuid.uuid4()), "body": "hello"}
    await show("sent", await client.call("message.send", message))
    await client.wait()


asyncio.run(main(*sys.argv[1:]))
