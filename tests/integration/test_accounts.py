"""Accounts over REST, on a real store."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg
import jwt
import pytest

from tests.client import PASSWORD, Api, Person, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Socket
    from tests.conftest import Nodes


async def refresh(api: Api, token: str, expect: int = 200) -> dict[str, str]:
    answer = await api.request("POST", "/auth/refresh", {"refresh_token": token}, expect=expect)
    assert isinstance(answer.json, dict)
    return answer.json


async def login(api: Api, username: str, password: str = PASSWORD) -> tuple[int, dict[str, object]]:
    answer = await api.request("POST", "/auth/login", {"username": username, "password": password})
    return answer.status, answer.json


async def test_somebody_registers_signs_in_again_and_is_the_same_user(api: Api) -> None:
    anna = await api.register()
    status, again = await login(api, anna.username.upper())
    assert status == 200
    assert Person(api, again).id == anna.id
    assert (await anna.get("/me"))["username"] == anna.username


async def test_a_username_is_taken_in_every_spelling(api: Api) -> None:
    anna = await api.register(unique("Anna"))
    answer = await api.request("POST", "/auth/register", {"username": anna.username.lower(), "password": PASSWORD})
    assert (answer.status, answer.code) == (409, "username_taken")


async def test_of_many_who_want_one_username_at_once_one_gets_it(api: Api) -> None:
    body = {"username": unique(), "password": PASSWORD}
    answers = await asyncio.gather(*(api.request("POST", "/auth/register", body) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(api: Api) -> None:
    anna = await api.register()
    assert await login(api, anna.username, "wrong password") == await login(api, unique(), "wrong password")


async def test_a_refresh_token_works_once_and_gives_a_new_pair(api: Api) -> None:
    anna = await api.register()
    second = await refresh(api, anna.refresh_token)
    third = await refresh(api, second["refresh_token"])
    assert len({anna.refresh_token, second["refresh_token"], third["refresh_token"]}) == 3
    await api.request("GET", "/me", token=third["access_token"], expect=200)


async def test_a_refresh_whose_answer_was_lost_can_be_repeated(api: Api) -> None:
    anna = await api.register()
    lost = await refresh(api, anna.refresh_token)  # the answer never arrives
    again = await refresh(api, anna.refresh_token)
    assert again["refresh_token"] == lost["refresh_token"]
    await refresh(api, again["refresh_token"])


async def test_a_lost_answer_is_made_up_for_however_late_and_then_the_lost_token_ends_the_session(api: Api, nodes: Nodes) -> None:
    anna = await api.register()
    lost = await refresh(api, anna.refresh_token)
    await age_refreshes(nodes, 11)
    again = await refresh(api, anna.refresh_token)
    assert again["refresh_token"] != lost["refresh_token"]
    await refresh(api, lost["refresh_token"], expect=401)
    assert (await api.request("GET", "/me", token=again["access_token"], expect=401)).code == "session_ended"


async def test_refreshes_at_the_same_moment_on_two_nodes_get_the_same_token(nodes: Nodes) -> None:
    pair = [await nodes.start() for _ in range(2)]
    anna = await pair[0].register()
    token = anna.refresh_token
    for _ in range(3):
        answers = await asyncio.gather(*(refresh(pair[number % 2], token) for number in range(8)))
        [token] = {one["refresh_token"] for one in answers}
        for one in answers:
            await pair[0].request("GET", "/me", token=one["access_token"], expect=200)


async def test_a_wrong_secret_of_a_known_session_ends_nothing(api: Api) -> None:
    anna = await api.register()
    session = anna.refresh_token.split("_")[1]
    for secret in ("A" * 43, "_" * 42 + "8"):
        await refresh(api, f"rt_{session}_{secret}", expect=401)
        await api.request("POST", "/auth/logout", {"refresh_token": f"rt_{session}_{secret}"}, expect=204)
    await api.request("GET", "/me", token=anna.token, expect=200)
    await refresh(api, anna.refresh_token)


async def age_refreshes(nodes: Nodes, seconds: float) -> None:
    """Let time pass for all sessions."""
    connection = await asyncpg.connect(nodes.urls.owner)
    try:
        await connection.execute("UPDATE sessions SET refreshed_at = refreshed_at - make_interval(secs => $1)", seconds)
    finally:
        await connection.close()


async def test_an_old_refresh_token_ends_the_session(api: Api, close_later: Callable[[Socket], Socket]) -> None:
    anna = await api.register()
    socket = close_later(await anna.connect())
    second = await refresh(api, anna.refresh_token)
    third = await refresh(api, second["refresh_token"])
    stolen = await refresh(api, anna.refresh_token, expect=401)
    assert stolen["code"] == "refresh_token_invalid"
    await refresh(api, third["refresh_token"], expect=401)
    answer = await api.request("GET", "/me", token=third["access_token"], expect=401)
    assert answer.code == "session_ended"
    await asyncio.wait_for(socket.gone.wait(), 2)


@pytest.mark.parametrize("token", ["", "x", "rt_", "rt_00_11", "rt_" + "0" * 32 + "_" + "A" * 43, "rt_é_ü", "\ud800"])
async def test_what_is_no_refresh_token_is_refused(api: Api, token: str) -> None:
    answer = await api.request("POST", "/auth/refresh", {"refresh_token": token})
    assert (answer.status, answer.code) in {
        (401, "refresh_token_invalid"), (400, "invalid_request"), (400, "invalid_json"),
    }  # fmt: skip


async def test_logging_out_ends_the_tokens_and_the_connections_on_every_node(
    nodes: Nodes, close_later: Callable[[Socket], Socket]
) -> None:
    here, there = await nodes.start(), await nodes.start()
    anna = await here.register()
    _, other_sign_in = await login(here, anna.username)
    first, second = close_later(await anna.connect()), close_later(await anna.at(there.url).connect())
    other = close_later(await Person(there, other_sign_in).connect())
    await anna.request("POST", "/auth/logout", expect=204)
    for socket in (first, second):
        await asyncio.wait_for(socket.gone.wait(), 1)
        assert socket.payloads("closing") == [{"code": "session_ended", "retryable": False}]
    assert not other.gone.is_set()
    for api in (here, there):
        assert (await api.request("GET", "/me", token=anna.token, expect=401)).code == "session_ended"
    await refresh(here, anna.refresh_token, expect=401)


async def test_logging_out_with_the_refresh_token_alone_works_too(api: Api) -> None:
    anna = await api.register()
    await api.request("POST", "/auth/logout", {"refresh_token": anna.refresh_token}, expect=204)
    await refresh(api, anna.refresh_token, expect=401)


async def test_attempts_are_limited_by_address_and_account(nodes: Nodes) -> None:
    api = await nodes.start(login_rate_per_min=3, trusted_proxies="127.0.0.0/8")
    anna = await api.register()
    body = {"username": anna.username, "password": "wrong password"}
    for _ in range(3):
        await api.request("POST", "/auth/login", body, headers={"X-Forwarded-For": "192.0.2.1"}, expect=401)
    limited = await api.request("POST", "/auth/login", body, headers={"X-Forwarded-For": "192.0.2.1"}, expect=429)
    assert (limited.code, int(limited.headers["Retry-After"]) >= 1) == ("rate_limited", True)
    # Nobody locks somebody else out: from another address the account is open.
    right = {"username": anna.username, "password": PASSWORD}
    await api.request("POST", "/auth/login", right, headers={"X-Forwarded-For": "192.0.2.2"}, expect=200)


async def test_a_token_of_another_key_issuer_type_or_algorithm_is_refused(api: Api, nodes: Nodes) -> None:
    anna = await api.register()
    [node] = nodes.running
    claims = jwt.decode(anna.token, options={"verify_signature": False})
    kid, secret = node.keys.signing
    header = {"kid": kid, "typ": "at+jwt"}
    forged = {
        "key": jwt.encode(claims, b"x" * 32, "HS256", header),
        "kid": jwt.encode(claims, secret, "HS256", {**header, "kid": "other"}),
        "issuer": jwt.encode({**claims, "iss": "other"}, secret, "HS256", header),
        "audience": jwt.encode({**claims, "aud": "other"}, secret, "HS256", header),
        "type": jwt.encode(claims, secret, "HS256", {**header, "typ": "JWT"}),
        "algorithm": jwt.encode(claims, secret * 2, "HS512", header),
        "none": jwt.encode(claims, "", "none", header),
        "subject": jwt.encode({**claims, "sub": "anna"}, secret, "HS256", header),
        "digits": anna.token[:-2],
        "nothing": "x",
        "unicode": "ä.ö.ü",
    }
    for what, token in forged.items():
        answer = await api.request("GET", "/me", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status, answer.code) == (401, "token_invalid"), what
    expired = jwt.encode({**claims, "exp": int(time.time()) - 1}, secret, "HS256", header)
    assert (await api.request("GET", "/me", token=expired, expect=401)).code == "token_expired"
    genuine = jwt.encode(claims, secret, "HS256", header)
    await api.request("GET", "/me", token=genuine, expect=200)


async def test_keys_are_replaced_without_refusing_a_token(api: Api, nodes: Nodes) -> None:
    [node] = nodes.running
    anna = await api.register()
    before = node.keys.signing
    assert await node.keys.rotate(now=True)
    assert node.keys.signing == before, "a new key signs only after every node had time to read it"
    assert len(node.keys.secrets) >= 2
    await api.request("GET", "/me", token=anna.token, expect=200)


async def test_passwords_are_stored_as_argon2id_and_renewed_when_the_parameters_change(
    api: Api, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = await api.register()
    [node] = nodes.running

    async def stored() -> str:
        row = await node.database.fetchrow("SELECT password_hash FROM users WHERE id = $1", anna.id)
        assert row is not None
        return str(row["password_hash"])

    weak = await stored()
    assert weak.startswith("$argon2id$")
    monkeypatch.undo()
    stronger = await nodes.start()
    status, _ = await login(stronger, anna.username)
    assert status == 200
    assert "m=65536,t=3,p=4" in await stored()


async def test_users_are_found_by_the_beginning_of_their_name_and_by_id(api: Api) -> None:
    anna = await api.register(unique("Find_Me"))
    found = await anna.get(f"/users?query={anna.username[:12].lower()}")
    assert anna.id in [user["id"] for user in found["users"]]
    assert (await anna.get("/users?query=find%25me"))["users"] == []
    assert (await anna.get(f"/users?ids={anna.id}"))["users"][0]["username"] == anna.username
