"""Every kind of event × every kind of connection that is not entitled any more, on two nodes: nothing arrives after the bound.

The kinds of events are those of the contract: a new one without a way to bring it about here fails the first test. Everything
is brought about once, on both nodes, for all connections together; somebody who is still entitled must get all of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import jwt

from realtime.auth import tokens
from realtime.auth.tokens import Claims
from realtime.model import SessionId, User, UserId
from realtime.node import engines
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS
from realtime.operations import by_event
from realtime.runtime import new_id
from realtime.wire import socket as contract
from tests.client import PASSWORD, Person, Socket, unique
from tests.conformance.wire import RawSocket
from tests.conftest import Nodes
from tests.process import readable

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator

    import aiohttp

    from realtime.node.app import Node
    from realtime.store.provision import Urls
    from tests.conftest import Engines

OWN = {"ready", "closing", "server.drain", "room.reset"}
"""About the connection itself; nobody else brings them about."""
GRACE_S = 1
LIFE_S = 6  # of the token that nobody renews: long enough to subscribe on a slow machine
EXPIRY_S = 2.5  # how late it may be noticed that a token ran out (docs/architecture.md)
SLACK_S = 5  # waited beyond the bound, so that a failure says by how much
OF_LOG = len(KINDS.structs)  # numbered events of one round


class Stage:
    """What one round of all events needs, on one node.

    Args:
        anna: Owns the room, and talks to this node.
        extras: Who will join, leave, be removed, be banned, and whom everybody watches.
        targets: Who is added to another room.
    """

    def __init__(self, anna: Person, room: str, extras: list[Person], targets: list[Person]) -> None:
        self.anna = anna
        self.room = room
        self.joins, self.leaves, self.removed, self.banned, self.watched = extras
        self.targets = targets
        self.sockets: list[Socket] = []
        self.seq = 0

    async def ask(self, method: str, path: str, json: Any = None, by: Person | None = None) -> Any:
        answer = await (by or self.anna).request(method, f"/rooms/{self.room}{path}", json)
        assert answer.status < 300, (path, answer.json)
        return answer.json

    async def connect(self, person: Person) -> Socket:
        socket = await person.connect()
        self.sockets.append(socket)
        return socket


async def message_created(stage: Stage) -> None:
    stage.seq = await stage.anna.send(stage.room, "a secret")


async def message_edited(stage: Stage) -> None:
    await stage.ask("PATCH", f"/messages/{stage.seq}", {"body": "another secret"})


async def message_deleted(stage: Stage) -> None:
    await stage.ask("DELETE", f"/messages/{stage.seq}")


async def member_joined(stage: Stage) -> None:
    await stage.ask("POST", "/members", {"user": stage.joins.id})


async def member_role_changed(stage: Stage) -> None:
    await stage.ask("PATCH", f"/members/{stage.joins.id}", {"role": "admin"})


async def member_left(stage: Stage) -> None:
    await stage.ask("POST", "/leave", by=stage.leaves)


async def member_removed(stage: Stage) -> None:
    await stage.ask("DELETE", f"/members/{stage.removed.id}")


async def member_banned(stage: Stage) -> None:
    await stage.ask("PUT", f"/bans/{stage.banned.id}")


async def member_unbanned(stage: Stage) -> None:
    await stage.ask("DELETE", f"/bans/{stage.banned.id}")


async def signal(stage: Stage) -> None:
    sender = await stage.connect(stage.anna)
    await sender.subscribe(stage.room)
    await sender.call("signal", {"room": stage.room, "kind": "typing"})


async def presence(stage: Stage) -> None:
    await stage.connect(stage.watched)


async def room_added_and_removed(stage: Stage) -> None:
    other = await stage.anna.room("private", "Another room", members=stage.targets)
    for one in stage.targets:
        await stage.anna.request("DELETE", f"/rooms/{other}/members/{one.id}", expect=204)


BROUGHT_ABOUT: dict[str, Callable[[Stage], Awaitable[None]]] = {
    "message.created": message_created,
    "message.edited": message_edited,
    "message.deleted": message_deleted,
    "member.joined": member_joined,
    "member.role_changed": member_role_changed,
    "member.left": member_left,
    "member.removed": member_removed,
    "member.banned": member_banned,
    "member.unbanned": member_unbanned,
    "signal": signal,
    "presence": presence,
    "room.added": room_added_and_removed,
    "room.removed": room_added_and_removed,
}
OF_ROOMS = set(BROUGHT_ABOUT) - {"presence", "room.added", "room.removed"}
"""What only those get who receive the room; the rest goes to a user, member or not."""


def test_every_event_of_the_contract_is_in_the_matrix() -> None:
    assert set(BROUGHT_ABOUT) | OWN == {*contract.EMITTED, *KINDS.structs}, "say above how the new event comes about"
    assert not set(BROUGHT_ABOUT) & OWN


# -- who is not entitled any more -------------------------------------------------------------------


class Victim:
    """Somebody who loses what they were entitled to, with a connection on each node over each transport.

    Args:
        person: Who.
        room: Whose events they receive.
        anna: Owns the room and administrates the server.
    """

    def __init__(self, person: Person, room: str, anna: Person) -> None:
        self.person = person
        self.room = room
        self.anna = anna
        self.sockets: dict[str, Socket] = {}
        self.marks: dict[str, int] = {}
        self.token = person.token

    async def phone(self) -> Person:
        """Sign in once more."""
        api, body = self.person.api, {"username": self.person.username, "password": PASSWORD}
        return Person(api, (await api.request("POST", "/auth/login", body, expect=200)).json)


async def logged_out(victim: Victim) -> None:
    await victim.person.request("POST", "/auth/logout", expect=204)


async def ended_elsewhere(victim: Victim) -> None:
    phone = await victim.phone()
    [session] = [one for one in (await phone.get("/me/sessions"))["sessions"] if "current" not in one]
    await phone.request("DELETE", f"/me/sessions/{session['id']}", expect=204)


async def password_changed(victim: Victim) -> None:
    body = {"current_password": PASSWORD, "new_password": "a new one of theirs"}
    await (await victim.phone()).request("POST", "/me/password", body, expect=200)


async def refresh_token_reused(victim: Victim) -> None:
    api, token = victim.person.api, victim.person.refresh_token
    second = (await api.request("POST", "/auth/refresh", {"refresh_token": token}, expect=200)).json
    await api.request("POST", "/auth/refresh", {"refresh_token": second["refresh_token"]}, expect=200)
    await api.request("POST", "/auth/refresh", {"refresh_token": token}, expect=401)


async def account_disabled(victim: Victim) -> None:
    await victim.anna.request("PATCH", f"/admin/users/{victim.person.id}", {"disabled": True}, expect=200)


async def signed_out_by_an_administrator(victim: Victim) -> None:
    await victim.anna.request("DELETE", f"/admin/users/{victim.person.id}/sessions", expect=204)


async def password_reset(victim: Victim) -> None:
    await victim.anna.request("POST", f"/admin/users/{victim.person.id}/password", expect=200)


async def token_expired(victim: Victim) -> None:
    await asyncio.sleep(max(0.0, tokens_end_s(victim.token) + GRACE_S - time.time()))  # time itself is the cause


async def removed(victim: Victim) -> None:
    await victim.anna.request("DELETE", f"/rooms/{victim.room}/members/{victim.person.id}", expect=204)


async def banned(victim: Victim) -> None:
    await victim.anna.request("PUT", f"/rooms/{victim.room}/bans/{victim.person.id}", expect=201)


async def left(victim: Victim) -> None:
    await victim.person.request("POST", f"/rooms/{victim.room}/leave", expect=204)


Cause = Callable[[Victim], Awaitable[None]]
SESSION_CAUSES: tuple[Cause, ...] = (
    logged_out, ended_elsewhere, password_changed, refresh_token_reused, account_disabled, signed_out_by_an_administrator,
    password_reset, token_expired,
)  # fmt: skip
"""After these the connection is closed, and nothing at all arrives."""
ROOM_CAUSES: tuple[Cause, ...] = (removed, banned, left)
"""After these the connection lives on without the room."""

REFUSED: dict[str, Callable[[str], Any]] = {
    "message.send": lambda room: {"room": room, "client_id": unique(), "body": "x"},
    "message.edit": lambda room: {"room": room, "seq": 1, "body": "x"},
    "message.delete": lambda room: {"room": room, "seq": 1},
    "signal": lambda room: {"room": room, "kind": "typing"},
    "room.subscribe": lambda room: {"rooms": [{"room": room}]},
}
"""What somebody may not ask of a room that is none of theirs any more."""
FREE = {"room.unsubscribe", "presence.set", "presence.watch", "auth.refresh"}


def test_every_request_of_the_contract_is_in_the_matrix() -> None:
    assert set(REFUSED) | FREE == set(by_event(OPERATIONS)), "say above whether it needs a room"


def tokens_end_s(token: str) -> float:
    return float(jwt.decode(token, options={"verify_signature": False})["exp"])


def short_lived(node: Node, person: Person) -> str:
    """Sign a token that ends in a moment."""
    claims = Claims(node.config.token_issuer, node.config.token_audience)
    user = User(UserId(person.id), person.username, person.username)
    return tokens.issue(claims, *node.keys.signing, user, SessionId(new_id()), int(time.time()), LIFE_S)


# -- the matrix -------------------------------------------------------------------------------------


class Matrix:
    """Two nodes, a room, everybody in it, and what each connection got."""

    def __init__(self, nodes: Nodes) -> None:
        self.nodes = nodes
        self.victims: dict[str, Victim] = {}
        self.stages: list[Stage] = []
        self.control: Victim

    async def set_up(self) -> None:
        apis = [await self.nodes.start(token_grace_s=GRACE_S, login_rate_per_min=1000) for _ in range(2)]
        here = apis[0]
        anna, carl = await here.register(), await here.register()
        await self.nodes.running[0].administration.change(None, anna.id, admin=True)
        people = {cause.__name__: await here.register() for cause in (*SESSION_CAUSES, *ROOM_CAUSES)}
        extras = [[await here.register() for _ in range(5)] for _ in apis]
        members = [carl, *people.values(), *(one for found in extras for one in found[1:4])]
        room = await anna.room("private", members=members)
        # Nobody can be added to a room whose account is disabled, so that user gets no `room.added` in any case.
        targets = [carl, *(one for name, one in people.items() if name != "account_disabled")]
        watched = [found[4].id for found in extras]
        self.stages = [
            Stage(anna.at(api.url), room, [one.at(api.url) for one in found], targets)
            for api, found in zip(apis, extras, strict=True)
        ]
        self.control = Victim(carl, room, anna)
        self.victims = {name: Victim(one, room, anna) for name, one in people.items()}
        expiring = self.victims["token_expired"]
        expiring.token = short_lived(self.nodes.running[0], expiring.person)
        for victim in (expiring, *self.victims.values(), self.control):
            for index, api in enumerate(apis):
                for transport in ("websocket", "polling"):
                    key = f"{('here', 'there')[index]} over {transport}"
                    if key not in victim.sockets:
                        socket = await victim.person.at(api.url).connect([transport], token=victim.token)
                        victim.sockets[key] = socket
                        await socket.subscribe(room)
                        await socket.call("presence.watch", {"users": watched})

    async def close(self) -> None:
        sockets = [socket for stage in self.stages for socket in stage.sockets]
        for victim in (self.control, *self.victims.values()):
            sockets += victim.sockets.values()
        for socket in sockets:
            await socket.close()

    async def revoke(self, bound_s: float) -> dict[str, float]:
        """Bring all causes about; return how long each took to arrive at the last of its connections, in seconds."""
        took: dict[str, float] = {}

        async def one(cause: Cause, session: bool) -> None:
            victim = self.victims[cause.__name__]
            await cause(victim)
            began_s = time.monotonic()
            for socket in victim.sockets.values():
                if session:
                    await asyncio.wait_for(socket.gone.wait(), bound_s + SLACK_S)
                else:
                    await socket.wait_for("room.removed", timeout_s=bound_s + SLACK_S)
            took[cause.__name__] = time.monotonic() - began_s

        causes = [(cause, True) for cause in SESSION_CAUSES] + [(cause, False) for cause in ROOM_CAUSES]
        await asyncio.gather(*(one(*cause) for cause in causes))
        for victim in (self.control, *self.victims.values()):
            victim.marks = {name: len(socket.got) for name, socket in victim.sockets.items()}
        return took

    async def bring_everything_about(self) -> None:
        for stage in self.stages:
            for happen in dict.fromkeys(BROUGHT_ABOUT.values()):
                await happen(stage)
        for name, socket in self.control.sockets.items():

            def all_came(name: str = name) -> bool:
                return set(BROUGHT_ABOUT) <= self.after(self.control, name) and self.events(name) == len(self.stages) * OF_LOG

            await socket.wait(all_came, timeout_s=10)

    def events(self, name: str) -> int:
        got = self.control.sockets[name].got[self.control.marks[name] :]
        return sum(1 for _, payload in got if payload and payload.get("room") == self.control.room and "seq" in payload)

    @staticmethod
    def after(victim: Victim, name: str) -> set[str]:
        """Return the kinds of what came after the bound; of rooms, only of the room in question."""
        return {
            kind
            for kind, payload in victim.sockets[name].got[victim.marks[name] :]
            if kind not in OF_ROOMS or payload["room"] == victim.room
        }

    async def leaks(self) -> list[str]:
        """Return each cell of the matrix in which something arrived that should not."""
        found = []
        for cause in SESSION_CAUSES:
            victim = self.victims[cause.__name__]
            found += [f"{kind} × {cause.__name__} {name}" for name in victim.sockets for kind in self.after(victim, name)]
        for cause in ROOM_CAUSES:
            victim = self.victims[cause.__name__]
            for name, socket in victim.sockets.items():
                # Answered behind everything that was written before; and so that nobody looks at a connection that is dead.
                await socket.call("room.unsubscribe", {"rooms": [victim.room]})
                came = self.after(victim, name)
                assert {"presence", "room.added"} <= came, f"{cause.__name__} {name} lives on"
                found += [f"{kind} × {cause.__name__} {name}" for kind in came & OF_ROOMS]
        return found

    async def refusals(self) -> list[str]:
        """Ask for everything that is theirs no more; return what was granted."""
        granted = []
        for cause in SESSION_CAUSES:
            victim = self.victims[cause.__name__]
            for stage in self.stages:
                api = stage.anna.api
                answer = await api.request("GET", "/me", token=victim.token)
                expected = "token_expired" if cause is token_expired else "session_ended"
                if answer.status == 200 or answer.code != expected:
                    granted.append(f"GET /me × {cause.__name__}")
                wire = await RawSocket.open(api.url)
                assert (await wire.text()).startswith("0{")
                wire.send("40" + json.dumps({"token": victim.token}))
                if expected not in (await wire.text()):
                    granted.append(f"connect × {cause.__name__}")
                wire.close()
            if cause is not token_expired:
                refreshed = await victim.person.api.request(
                    "POST", "/auth/refresh", {"refresh_token": victim.person.refresh_token}
                )
                if refreshed.status != 401:
                    granted.append(f"refresh × {cause.__name__}")
        for cause in ROOM_CAUSES:
            victim = self.victims[cause.__name__]
            for name, socket in victim.sockets.items():
                for request, payload in REFUSED.items():
                    answer = await socket.ask(request, payload(victim.room))
                    if answer["ok"] and "error" not in answer.get("rooms", [{}])[0]:
                        granted.append(f"{request} × {cause.__name__} {name}")
            for path in ("messages", "events", "members", "bans"):
                for stage in self.stages:
                    read = await victim.person.at(stage.anna.api.url).request("GET", f"/rooms/{victim.room}/{path}")
                    if read.status != 404:
                        granted.append(f"GET {path} × {cause.__name__}")
        return granted


@contextlib.asynccontextmanager
async def matrix_of(urls: Urls, redis: str, http: aiohttp.ClientSession) -> AsyncIterator[Matrix]:
    async with contextlib.AsyncExitStack() as stack:
        matrix = Matrix(Nodes(urls, redis, stack, http))
        await matrix.set_up()
        try:
            yield matrix
        finally:
            await matrix.close()


def held_to(took: dict[str, float], bound_s: float) -> None:
    late = {cause: seconds for cause, seconds in took.items() if seconds > (EXPIRY_S if cause == "token_expired" else bound_s)}
    assert not late, f"later than {bound_s} s: {late}"


async def test_while_redis_is_there_everybody_is_out_within_1_s(
    running_engines: Engines, shared_database: Urls, http: aiohttp.ClientSession
) -> None:
    async with matrix_of(shared_database, running_engines.redis, http) as matrix:
        held_to(await matrix.revoke(1), 1)
        await matrix.bring_everything_about()
        assert await matrix.leaks() == []
        assert await matrix.refusals() == []


async def test_while_redis_is_gone_everybody_is_out_within_30_s(
    shared_database: Urls, http: aiohttp.ClientSession, tmp_path: pathlib.Path
) -> None:
    redis = engines.Redis(readable(tmp_path))
    engines.start_all([redis])
    try:
        async with matrix_of(shared_database, redis.url, http) as matrix:
            redis.stop()
            held_to(await matrix.revoke(30), 30)
            await matrix.bring_everything_about()
            assert await matrix.leaks() == []
            assert await matrix.refusals() == []
    finally:
        redis.stop()


def drop(*_: object) -> None:
    """Stand for a bus that takes everything and delivers nothing."""


async def test_when_every_notice_is_lost_and_nobody_notices_everybody_is_out_within_30_s(
    running_engines: Engines, shared_database: Urls, http: aiohttp.ClientSession
) -> None:
    async with matrix_of(shared_database, running_engines.redis, http) as matrix:
        buses = [node.bus for node in matrix.nodes.running]
        sends = [(bus, name, getattr(bus, name)) for bus in buses for name in ("publish_batch", "publish_control")]
        for bus, name, _ in sends:
            setattr(bus, name, drop)
        held_to(await matrix.revoke(30), 30)
        assert all(bus.healthy for bus in buses)
        for bus, name, send in sends:
            setattr(bus, name, send)
        await matrix.bring_everything_about()
        assert await matrix.leaks() == []
