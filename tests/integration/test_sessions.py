"""One's own password and sessions, over REST and two nodes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from realtime.auth.service import MAX_SESSIONS
from realtime.errors import InvalidCredentials
from tests.client import PASSWORD, Api, Person
from tests.integration.test_bans import waiting_for_the_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]

NEW = "another fine password"


@pytest.fixture
async def pair(nodes: Nodes) -> tuple[Api, Api]:
    return await nodes.start(login_rate_per_min=1000), await nodes.start(login_rate_per_min=1000)


async def login(api: Api, username: str, password: str = PASSWORD, agent: str = "test") -> Person:
    body = {"username": username, "password": password}
    return Person(api, (await api.request("POST", "/auth/login", body, headers={"User-Agent": agent}, expect=200)).json)


async def code(api: Api, token: str) -> str:
    answer = await api.request("GET", "/me", token=token)
    return "ok" if answer.status == 200 else answer.code


async def test_a_changed_password_ends_every_other_session_and_not_this_one(pair: tuple[Api, Api], close_later: Keep) -> None:
    here, there = pair
    phone = await here.register()
    desk = await login(there, phone.username)
    kept, closed = close_later(await phone.connect()), close_later(await desk.connect())
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert (
        await phone.request("POST", "/me/password", {**body, "current_password": "a guess"}, expect=403)
    ).code == "wrong_password"
    changed = Person(here, (await phone.request("POST", "/me/password", body, expect=200)).json)
    await asyncio.wait_for(closed.gone.wait(), 1)
    assert closed.payloads("closing") == [{"code": "session_ended", "retryable": False}]
    for api in pair:
        assert await code(api, desk.token) == "session_ended"
        assert await code(api, changed.token) == await code(api, phone.token) == "ok"
    assert (await kept.call("auth.refresh", {"token": changed.token}))["ok"]
    for token, status in ((desk.refresh_token, 401), (changed.refresh_token, 200)):
        await here.request("POST", "/auth/refresh", {"refresh_token": token}, expect=status)
    old = await here.request("POST", "/auth/login", {"username": phone.username, "password": PASSWORD})
    assert old.code == "invalid_credentials"
    await login(there, phone.username, NEW)


async def test_a_refresh_token_from_before_the_change_is_worth_nothing_and_ends_nothing(api: Api) -> None:
    """It may be of a second tab. Who holds it cannot have the new one: that took the password."""
    anna = await api.register()
    second = (await api.request("POST", "/auth/refresh", {"refresh_token": anna.refresh_token}, expect=200)).json
    changed = await anna.request("POST", "/me/password", {"current_password": PASSWORD, "new_password": NEW}, expect=200)
    for old in (anna.refresh_token, second["refresh_token"]):
        await api.request("POST", "/auth/refresh", {"refresh_token": old}, expect=401)
    assert await code(api, changed.json["access_token"]) == "ok"
    await api.request("POST", "/auth/refresh", {"refresh_token": changed.json["refresh_token"]}, expect=200)


async def test_a_change_of_the_password_that_races_with_refreshes_never_ends_its_own_session(pair: tuple[Api, Api]) -> None:
    here, there = pair
    anna, current, new = await here.register(), PASSWORD, NEW
    token, access = anna.refresh_token, anna.token
    for _ in range(3):
        body = {"current_password": current, "new_password": new}
        changing = here.request("POST", "/me/password", body, token=access)
        refreshing = ((here, there)[number % 2].request("POST", "/auth/refresh", {"refresh_token": token}) for number in range(6))
        changed, *refreshed = await asyncio.gather(changing, *refreshing)
        assert changed.status == 200
        assert {one.status for one in refreshed} <= {200, 401}
        for one in refreshed:
            if one.status == 200 and one.json["refresh_token"] != changed.json["refresh_token"]:
                await there.request("POST", "/auth/refresh", {"refresh_token": one.json["refresh_token"]}, expect=401)
        kept = await there.request("POST", "/auth/refresh", {"refresh_token": changed.json["refresh_token"]}, expect=200)
        token, access, current, new = kept.json["refresh_token"], kept.json["access_token"], new, current
        assert await code(here, access) == "ok"


async def test_sessions_are_listed_and_ended_from_elsewhere(pair: tuple[Api, Api], close_later: Keep) -> None:
    here, there = pair
    phone = await here.register()
    desk = await login(there, phone.username, agent="Firefox on Linux")
    socket = close_later(await desk.connect())
    listed = (await phone.get("/me/sessions"))["sessions"]
    assert listed[0]["agent"] == "Firefox on Linux"
    assert [one.get("current", False) for one in listed] == [False, True]
    stranger = await here.register()
    refused = await stranger.request("DELETE", f"/me/sessions/{listed[0]['id']}", expect=404)
    assert refused.code == "session_not_found"
    await phone.request("DELETE", f"/me/sessions/{listed[0]['id']}", expect=204)
    await asyncio.wait_for(socket.gone.wait(), 1)
    assert [await code(api, desk.token) for api in pair] == ["session_ended"] * 2
    assert len((await phone.get("/me/sessions"))["sessions"]) == 1
    for name in (listed[0]["id"], "nonsense"):
        assert (await phone.request("DELETE", f"/me/sessions/{name}", expect=404)).code == "session_not_found"


async def test_an_account_has_so_many_sessions_and_the_one_not_used_for_longest_ends(api: Api, nodes: Nodes) -> None:
    anna = await api.register()
    accounts = nodes.running[0].accounts
    for _ in range(MAX_SESSIONS):
        await accounts.login(anna.username, PASSWORD, "192.0.2.1")
    assert await code(api, anna.token) == "session_ended"
    last = await login(api, anna.username)
    assert len((await last.get("/me/sessions"))["sessions"]) == MAX_SESSIONS


@pytest.mark.parametrize("change", ["disabled", "password"])
async def test_no_session_begins_with_what_a_change_did_away_with_meanwhile(api: Api, nodes: Nodes, change: str) -> None:
    """A sign-in whose password was right, and which comes to its session after the change was made but not committed."""
    anna = await api.register()
    node = nodes.running[0]
    account = await node.administration.account(anna.id)
    store = node.administration._accounts
    async with store.locked(account.user.id) as locked:
        assert locked is not None
        if change == "disabled":
            await locked.disable()
        else:
            await locked.set_one_time_password("a hash", 60)
        signing_in = asyncio.create_task(node.accounts.login(anna.username, PASSWORD, "192.0.2.1"))
        await waiting_for_the_lock(nodes)
        await locked.end_sessions("test")
    with pytest.raises(InvalidCredentials):
        await signing_in
    assert (await node.administration.account(anna.id)).sessions == 0
