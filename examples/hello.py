import asyncio
import sys
import uuid

import aiohttp
import socketio


async def main(url: str, username: str, password: str) -> None:
    async with aiohttp.ClientSession(f"{url}/api/v1/") as http:
        account = await (await http.post("auth/login", json={"username": username, "password": password})).json()
        http.headers["Authorization"] = f"Bearer {account['access_token']}"
        room = (await (await http.post("rooms", json={"kind": "public", "name": "Lobby"})).json())["id"]
    client = socketio.AsyncClient()
    client.on("*", lambda name, payload: print(name, payload, flush=True))
    await client.connect(url, auth={"token": account["access_token"]})
    await client.call("room.subscribe", {"rooms": [{"room": room, "since": 0}]})
    await client.call("message.send", {"room": room, "client_id": str(uuid.uuid4()), "body": "hello"})
    await client.wait()


asyncio.run(main(*sys.argv[1:]))  # python hello.py http://127.0.0.1:8000 anna "a good password"
