import asyncio
import sys
import uuid

import aiohttp
import socketio


async def main(url: str, username: str, password: str) -> None:
    async with aiohttp.ClientSession(f"{url}/api/v1/") as http:

        async def post(path: str, body: dict[str, str]) -> dict[str, str]:
            answer = await http.post(path, json=body)
            return await answer.json() if answer.ok else sys.exit(await answer.text())

        token = (await post("auth/login", {"username": username, "password": password}))["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        room = (await post("rooms", {"kind": "public", "name": "Lobby"}))["id"]
    client = socketio.AsyncClient()
    client.on("*", lambda name, payload: print(name, payload, flush=True))
    client.on("connect_error", lambda error: print("connect_error", error, file=sys.stderr))
    await client.connect(url, auth={"token": token})
    for name, request in [
        ("room.subscribe", {"rooms": [{"room": room, "since": 0}]}),
        ("message.send", {"room": room, "client_id": str(uuid.uuid4()), "body": "hello"}),
    ]:
        ack = await client.call(name, request)
        if not ack["ok"]:
            sys.exit(f"{name}: {ack['error']}")
    await client.wait()


try:
    asyncio.run(main(*sys.argv[1:4]))  # python hello.py http://127.0.0.1:8000 anna "a good password"
except (aiohttp.ClientError, socketio.exceptions.ConnectionError) as failed:
    sys.exit(f"No connection: {failed}")
