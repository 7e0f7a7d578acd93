# pip install "python-socketio[asyncio-client]"
# python chat.py http://127.0.0.1:8000 anna "a good password" [room]
import asyncio
import json
import sys
import uuid
from typing import Any

import aiohttp
import socketio


class Refused(Exception):
    """The server's answer to a request that it did not take."""


async def main(url: str, username: str, password: str, given: str = "") -> None:
    async with aiohttp.ClientSession(f"{url}/api/v1/") as http:

        async def post(path: str, body: dict[str, str]) -> Any:
            answer = await http.post(path, json=body)
            if answer.status >= 400:
                raise Refused(answer.status, await answer.text())
            return await answer.json()

        account = await post("auth/login", {"username": username, "password": password})
        http.headers["Authorization"] = f"Bearer {account['access_token']}"
        found = await (post(f"rooms/{given}/join", {}) if given else post("rooms", {"kind": "public", "name": "Lobby"}))
        room, since = found["id"], 0  # `since`: how far we hold the room
        held: dict[str, str] = {}  # and in which epoch
        client = socketio.AsyncClient()

        async def show(name: str, payload: dict[str, Any]) -> None:
            nonlocal since
            if payload.get("room") == room:
                since = payload.get("seq", payload.get("head_seq", since))  # an event, or `room.reset`
            print(name, json.dumps(payload), flush=True)
            if name == "ready":  # after every reconnect too: first what we missed, then what comes
                await client.emit("room.subscribe", {"rooms": [{"room": room, "since": since}], **held}, callback=subscribed)

        async def subscribed(ack: dict[str, Any]) -> None:
            nonlocal since
            answer = ack["rooms"][0] if ack["ok"] else ack
            if "error" in answer:
                await show("refused", answer["error"])
                return
            held["epoch"] = ack["epoch"]
            if answer.get("reset"):  # too much missed: GET rooms/{room}/messages has the latest
                since = answer["head_seq"]
            for event in answer.get("events", []):
                await show(event["kind"], event)

        client.on("*", show)
        client.on("connect_error", lambda error: show("connect_error", {"data": error}))
        # A function: each reconnect shows the newest access token.
        await client.connect(url, auth=lambda: {"token": account["access_token"]})
        message = {"room": room, "client_id": str(uuid.uuid4()), "body": "hello"}
        sent = await client.call("message.send", message)
        await show("sent" if sent["ok"] else "refused", sent)

        # An access token lives for minutes; the refresh token of each answer brings the next pair, once.
        wait_s = account["expires_in"] * 0.6
        while True:
            await asyncio.sleep(wait_s)
            try:
                account = await post("auth/refresh", {"refresh_token": account["refresh_token"]})
            except aiohttp.ClientError:
                wait_s = 2.0  # the network: the refresh token stays good until its successor was used
            except Refused as refused:
                if refused.args[0] == 401:
                    raise  # the sign-in was ended: a person has to sign in again
                wait_s = 2.0  # a server that is busy
            else:
                wait_s = account["expires_in"] * 0.6
                if client.connected:
                    await client.emit("auth.refresh", {"token": account["access_token"]})


try:
    asyncio.run(main(*sys.argv[1:]))
except Refused as refused:
    sys.exit(refused.args[1])
except (aiohttp.ClientError, socketio.exceptions.ConnectionError) as failed:
    sys.exit(f"No connection: {failed}")
