"""Administrators of the server: made by the operator, read from the store at each request, never all gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from realtime import cli
from realtime.auth.accounts import AccountStore
from realtime.auth.administration import Administration
from realtime.auth.passwords import Passwords
from realtime.auth.users import UserStore
from realtime.errors import AdminOnly, LastAdmin
from realtime.model import User, UserId
from realtime.node.engines import DataDirectory
from realtime.store.pool import Database
from tests.client import PASSWORD, Api, Person, unique
from tests.process import readable

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from realtime.node.app import Node
    from realtime.store.provision import Urls
    from tests.client import Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]


async def grant(node: Node, person: Person) -> Person:
    await node.administration.change(None, person.id, admin=True)
    return person


@pytest.fixture
async def boss(api: Api, nodes: Nodes) -> Person:
    return await grant(nodes.running[0], await api.register(unique("boss")))


async def code(person: Person, method: str, path: str, json: object = None) -> str:
    answer = await person.request(method, path, json)
    return answer.code if answer.status >= 400 else str(answer.status)


async def test_who_administrates_is_told_so_and_may_until_they_may_not(boss: Person, nodes: Nodes, api: Api) -> None:
    assert (await boss.get("/me"))["admin"] is True
    again = (await api.request("POST", "/auth/login", {"username": boss.username, "password": PASSWORD})).json
    assert again["user"]["admin"] is True
    refreshed = (await api.request("POST", "/auth/refresh", {"refresh_token": again["refresh_token"]})).json
    assert refreshed["user"]["admin"] is True
    assert boss.username in [one["username"] for one in (await boss.get("/admin/users?scope=admins&limit=200"))["accounts"]]
    await nodes.running[0].administration.change(None, boss.id, admin=False)
    assert await code(boss, "GET", "/admin/users") == "admin_only", "the same token, at the next request"
    assert "admin" not in await boss.get("/me")


async def test_nobody_else_may(api: Api) -> None:
    anna = await api.register()
    for method, path, body in (
        ("GET", "/admin/users", None),
        ("GET", "/admin/status", None),
        ("GET", f"/admin/users/{anna.id}", None),
        ("PATCH", f"/admin/users/{anna.id}", {"admin": True}),
        ("DELETE", f"/admin/users/{anna.id}/sessions", None),
        ("POST", f"/admin/users/{anna.id}/password", None),
    ):
        assert await code(anna, method, path, body) == "admin_only"


async def test_accounts_are_listed_found_and_read_page_by_page(boss: Person, api: Api) -> None:
    stem = unique("list")
    people = [await api.register(f"{stem}{letter}") for letter in "cab"]
    await boss.request("PATCH", f"/admin/users/{people[0].id}", {"disabled": True}, expect=200)
    first = await boss.get(f"/admin/users?query={stem.upper()}&limit=2")
    assert [one["username"][-1] for one in first["accounts"]] == ["a", "b"]
    rest = await boss.get(f"/admin/users?query={stem}&limit=2&after={first['accounts'][-1]['username']}")
    assert (first["has_more"], rest["has_more"]) == (True, False)
    [last] = rest["accounts"]
    assert (last["id"], last["sessions"], "disabled_at" in last) == (people[0].id, 0, True)
    assert await boss.get(f"/admin/users/{last['id']}") == last
    assert await code(boss, "GET", "/admin/users/nobody") == "user_not_found"


async def test_a_disabled_account_is_out_at_once_everywhere_and_back_when_it_is_enabled(
    boss: Person, api: Api, nodes: Nodes, close_later: Keep
) -> None:
    there = await nodes.start()
    anna = await api.register()
    sockets = [close_later(await anna.connect()), close_later(await anna.at(there.url).connect())]
    await boss.request("PATCH", f"/admin/users/{anna.id}", {"disabled": True}, expect=200)
    for socket in sockets:
        await asyncio.wait_for(socket.gone.wait(), 1)
        assert socket.payloads("closing") == [{"code": "session_ended", "retryable": False}]
    for node in (api, there):
        assert (await node.request("GET", "/me", token=anna.token)).code == "session_ended"
        wrong = await node.request("POST", "/auth/login", {"username": anna.username, "password": "wrong password"})
        right = await node.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD})
        assert right.json == wrong.json, "strangers learn nothing"
        refused = await node.request("POST", "/auth/refresh", {"refresh_token": anna.refresh_token})
        assert refused.code == "refresh_token_invalid"
    assert await code(boss, "POST", f"/admin/users/{anna.id}/password") == "account_disabled"
    await boss.request("PATCH", f"/admin/users/{anna.id}", {"disabled": False}, expect=200)
    assert (await api.request("GET", "/me", token=anna.token)).code == "session_ended", "what was ended stays so"
    await api.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD}, expect=200)


async def test_a_reset_password_works_once_and_brings_another(boss: Person, api: Api, close_later: Keep) -> None:
    anna = await api.register()
    socket = close_later(await anna.connect())
    made = (await boss.request("POST", f"/admin/users/{anna.id}/password", expect=200)).json
    await asyncio.wait_for(socket.gone.wait(), 1)

    async def login(password: str, new: str | None = None) -> str:
        body = {"username": anna.username, "password": password} | ({"new_password": new} if new else {})
        answer = await api.request("POST", "/auth/login", body)
        return answer.code if answer.status >= 400 else "ok"

    assert await login(PASSWORD) == "invalid_credentials"
    assert await login(made["password"]) == "password_change_required"
    for kept in (made["password"], "password", anna.username, " " * 9):
        assert await login(made["password"], kept) == "password_too_weak"
    assert await login(made["password"], "a password of her own") == "ok"
    assert await login(made["password"], "another one again") == "invalid_credentials"
    assert await login("a password of her own") == "ok"


async def test_a_one_time_password_runs_out(boss: Person, api: Api, nodes: Nodes) -> None:
    anna = await api.register()
    made = (await boss.request("POST", f"/admin/users/{anna.id}/password", expect=200)).json
    assert made["expires_in"] == 86_400
    await nodes.running[0].database.execute("UPDATE users SET one_time_until = now() WHERE id = $1", anna.id)
    body = {"username": anna.username, "password": made["password"], "new_password": "one of her own"}
    assert (await api.request("POST", "/auth/login", body)).code == "invalid_credentials"


async def test_somebody_is_signed_out_by_an_administrator(boss: Person, api: Api, close_later: Keep) -> None:
    anna = await api.register()
    socket = close_later(await anna.connect())
    await boss.request("DELETE", f"/admin/users/{anna.id}/sessions", expect=204)
    await asyncio.wait_for(socket.gone.wait(), 1)
    await api.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD}, expect=200)


async def test_the_last_administrator_stays_even_when_two_demote_each_other(own_database: Urls) -> None:
    database = Database(own_database.application)
    await database.open()
    try:
        users = UserStore(database)
        administration = Administration(users, AccountStore(database), Passwords(1, 1), lambda _sessions: None)
        anna, bert = (UserId(f"019b0000-0000-7000-8000-00000000000{number}") for number in (1, 2))
        for user in (anna, bert):
            await users.insert(User(user, user[-4:], "x"), "x")
        for _ in range(20):
            for user in (anna, bert):
                await administration.change(None, user, admin=True, disabled=False)
            outcomes = await asyncio.gather(
                administration.change(anna, bert, admin=False),
                administration.change(bert, anna, disabled=True),
                return_exceptions=True,
            )
            assert sum(isinstance(one, (AdminOnly, LastAdmin)) for one in outcomes) == 1, outcomes
            assert len([one for one in await users.admins() if one.disabled_at is None]) == 1
        [last] = [one.user.id for one in await users.admins() if one.disabled_at is None]
        for change in ({"admin": False}, {"disabled": True}):
            with pytest.raises(LastAdmin):
                await administration.change(last, last, **change)
        await administration.change(None, last, disabled=True)  # the operator may: the account may be in wrong hands
    finally:
        await database.close()


# -- the operator's command -------------------------------------------------------------------------


def admin(*arguments: str) -> int:
    return cli.main(["admin", *arguments])


def test_the_operator_makes_the_first_administrator_and_looks_after_accounts(
    shared_database: Urls, capsys: pytest.CaptureFixture[str]
) -> None:
    name = unique("op")

    async def insert() -> None:

        database = Database(shared_database.application)
        await database.open()
        await UserStore(database).insert(User(UserId("019b0000-0000-7000-8000-0000000000f1"), name, name), "x")
        await database.close()

    asyncio.run(insert())
    at = ("--database-url", shared_database.application)

    def said(*arguments: str) -> str:
        assert admin(*arguments, *at) == 0
        return capsys.readouterr().out.strip()

    assert "administrator" in said("grant", name.upper())
    assert name in said("list")
    assert "disabled since" in said("disable", name)
    assert "disabled" not in said("enable", name)
    assert len(said("reset-password", name)) == 23
    assert said("sign-out", name).endswith("0 open sessions")
    assert "administrator" not in said("revoke", name)
    assert "administrator" not in said("show", name)
    assert name not in said("list")
    assert admin("grant", "nobody-of-this-name", *at) == 1
    assert capsys.readouterr().err == "roomwire: There is no such user.\n"
    with pytest.raises(SystemExit) as wrong:
        admin("grant", *at)
    assert wrong.value.code == 2


def test_the_embedded_database_is_changed_while_no_server_runs_on_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:

    data = readable(tmp_path) / "data"
    assert admin("list", "--data-dir", str(data)) == 0
    assert "This server has no administrator" in capsys.readouterr().out
    held = DataDirectory(data)
    try:
        assert admin("list", "--data-dir", str(data)) == 2
        assert "PostgreSQL is not ready yet" in capsys.readouterr().err
    finally:
        held.close()
