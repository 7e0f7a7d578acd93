"""What the documentation page says in its own words: the first steps, and what one can rely on."""

from __future__ import annotations

INTRODUCTION = """\
Accounts and history are REST under `/api/v1`; what happens live travels over Socket.IO, with the official client of your
language. Register or sign in, open a socket with the access token, subscribe to rooms, and send."""

_JAVASCRIPT = """\
import { io } from "socket.io-client";

const url = "http://127.0.0.1:8000", room = "…";
const answer = await fetch(`${url}/api/v1/auth/login`, {
  method: "POST", headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ username: "ada", password: "a good password" }),
});
if (!answer.ok) throw new Error(await answer.text());
const { access_token: token } = await answer.json();

const socket = io(url, { auth: { token } });
socket.on("connect_error", (error) => console.error(error.data ?? error.message));
socket.on("message.created", (event) => console.log(event.seq, event.body));
socket.on("ready", async () => {
  await socket.emitWithAck("room.subscribe", { rooms: [{ room, since: 0 }] });
  const client_id = crypto.randomUUID();
  await socket.emitWithAck("message.send", { room, client_id, body: "Hello" });
});
"""

_PYTHON = """\
import asyncio, uuid, aiohttp, socketio

url, room = "http://127.0.0.1:8000", "…"

async def main():
    async with aiohttp.ClientSession() as session:
        me = {"username": "ada", "password": "a good password"}
        async with session.post(f"{url}/api/v1/auth/login", json=me) as answer:
            if answer.status != 200:
                raise SystemExit(await answer.text())
            token = (await answer.json())["access_token"]
    client = socketio.AsyncClient()
    client.on("message.created", lambda event: print(event["seq"], event["body"]))
    await client.connect(url, auth={"token": token})
    await client.call("room.subscribe", {"rooms": [{"room": room, "since": 0}]})
    message = {"room": room, "client_id": str(uuid.uuid4()), "body": "Hello"}
    print(await client.call("message.send", message))
    await client.wait()

asyncio.run(main())
"""

CLIENTS = (
    ("JavaScript, with `socket.io-client`", _JAVASCRIPT),
    ("Python, with `python-socketio[asyncio-client]`", _PYTHON),
)

RULES = (
    ("An ack means committed.", "It is sent after the database has the message for good."),
    (
        "Send again without fear.",
        "`client_id` is unique per sender and room for ever: a repeated send, over the socket or REST, gets the first answer "
        "again, with `duplicate: true`.",
    ),
    ("One order per room.", "`seq` counts 1, 2, 3 … without holes, and history shows the order that was delivered live."),
    (
        "Come back where you were.",
        "Keep the last `seq` you hold and subscribe with `since`: the ack brings everything after it, or says `reset`, which "
        "means to read the room again over REST.",
    ),
    (
        "Branch on codes.",
        "Every refusal has a stable `code`, and `retryable` says whether the same request can succeed later. Wait "
        "`retry_after_ms` where it is given.",
    ),
    (
        "Tokens run out.",
        "An access token lives for `expires_in` seconds. Get the next pair from `auth/refresh` before that, and put the new "
        "access token on the open connection with `auth.refresh`.",
    ),
)

EMITTED = """\
Events that have a `seq` are the numbered events of a room: the same object live, in the ack of `room.subscribe` and from
`GET …/events`. The sender's own connections get them too. Clients ignore fields that they do not know."""

ERRORS = """\
The code is the same over REST (as `application/problem+json`, with the status below) and in the ack of a socket request.
Where a retry helps, REST answers carry `Retry-After`."""
