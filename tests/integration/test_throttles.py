"""Guesses: counted by network, over accounts, over all nodes; and a flood of them that keeps nobody else out."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from realtime.auth.attempts import Budget, Charge
from realtime.auth.redis_attempts import RedisAttempts
from tests.client import PASSWORD, Answer, Api, unique
from tests.conftest import Engines, Nodes

PROXY = {"trusted_proxies": "127.0.0.0/8"}


def at(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


async def guess(api: Api, username: str, address: str, password: str = "wrong horse") -> int:
    body = {"username": username, "password": password}
    return (await api.request("POST", "/auth/login", body, headers=at(address))).status


async def test_hopping_inside_one_ipv6_network_and_over_nodes_makes_no_new_guesses(nodes: Nodes) -> None:
    here, there = [await nodes.start(login_rate_per_min=4, **PROXY) for _ in range(2)]
    anna = await here.register()
    answers = [await guess([here, there][number % 2], anna.username, f"2001:db8:1:1::{number:x}") for number in range(12)]
    assert Counter(answers) == {401: 4, 429: 8}
    assert await guess(there, anna.username, "2001:db8:2:2::1", PASSWORD) == 200  # nobody locks somebody else out


async def test_ipv4_and_the_same_address_mapped_into_ipv6_are_one(nodes: Nodes) -> None:
    api = await nodes.start(login_rate_per_min=4, **PROXY)
    answers = [
        await guess(api, unique_name, ["192.0.2.7", "::ffff:192.0.2.7"][n % 2]) for n, unique_name in enumerate(["ada"] * 8)
    ]
    assert Counter(answers) == {401: 4, 429: 4}


async def test_one_password_over_many_accounts_is_limited_over_all_nodes(nodes: Nodes) -> None:
    pair = [await nodes.start(address_login_rate_per_min=6, **PROXY) for _ in range(2)]
    known = await pair[0].register()
    assert await guess(pair[0], known.username, "192.0.2.1", PASSWORD) == 200
    answers = [await guess(pair[number % 2], unique(), "192.0.2.1") for number in range(12)]
    assert Counter(answers) == {401: 6, 429: 6}
    assert await guess(pair[1], known.username, "192.0.2.1", PASSWORD) == 200  # known there
    assert await guess(pair[1], unique(), "192.0.2.2") == 401


async def test_registrations_are_counted_by_network_over_all_nodes(nodes: Nodes) -> None:
    pair = [await nodes.start(register_rate_per_min=3, **PROXY) for _ in range(2)]

    async def register(number: int) -> Answer:
        body = {"username": unique(), "password": PASSWORD}
        return await pair[number % 2].request("POST", "/auth/register", body, headers=at(f"2001:db8:3:3::{number}"))

    assert Counter([(await register(number)).status for number in range(6)]) == {201: 3, 429: 3}


async def test_one_address_that_floods_sign_ins_keeps_nobody_else_out(nodes: Nodes) -> None:
    api = await nodes.start(address_login_rate_per_min=10_000, password_queue=8, password_threads=1, **PROXY)
    anna = await api.register()
    over = asyncio.Event()

    async def flood() -> list[int]:
        answers = []
        while not over.is_set():
            answers.append(await guess(api, unique(), "192.0.2.66"))
        return answers

    floods = [asyncio.create_task(flood()) for _ in range(40)]
    await asyncio.sleep(0.3)  # the queue is full
    try:
        assert [await guess(api, anna.username, "192.0.2.10", PASSWORD) for _ in range(5)] == [200] * 5
    finally:
        over.set()
        answers = Counter(one for answers in await asyncio.gather(*floods) for one in answers)
    assert answers[503] > 0


async def test_an_attempt_refused_as_overloaded_costs_no_budget(nodes: Nodes) -> None:
    api = await nodes.start(login_rate_per_min=20, address_login_rate_per_min=20, password_queue=1, password_threads=1, **PROXY)
    anna = await api.register()
    assert await guess(api, anna.username, "192.0.2.1", PASSWORD) == 200
    flood = (guess(api, anna.username, "192.0.2.1", "wrong horse") for _ in range(20))
    answers = Counter(await asyncio.gather(*flood))
    assert answers[503] > 0
    assert answers[401] + answers[503] == 20
    assert [await guess(api, anna.username, "192.0.2.1") for _ in range(answers[503])] == [401] * answers[503]
    assert await guess(api, anna.username, "192.0.2.1") == 429


async def test_guesses_at_the_same_moment_on_all_nodes_are_no_more_than_the_budget(running_engines: Engines) -> None:
    nodes = [RedisAttempts(running_engines.redis, f"t{unique()}") for _ in range(1)] * 4
    doubling, window = Charge(Budget("guess", 3, 60.0, 20.0), "ada"), Charge(Budget("address", 5, 60.0), "here")
    try:
        waits = await asyncio.gather(*(nodes[number % 4].take([doubling], "") for number in range(40)))
        assert sum(1 for wait_s in waits if wait_s == 0) == 3
        assert all(0 < wait_s <= 901 for wait_s in waits if wait_s)
        waits = await asyncio.gather(*(nodes[number % 4].take([window], "") for number in range(40)))
        assert sum(1 for wait_s in waits if wait_s == 0) == 5
        await nodes[0].give_back([window])
        assert await nodes[0].take([window], "") == 0
        assert await nodes[0].take([window], "") == pytest.approx(60, abs=5)
        await nodes[0].succeeded([doubling], [window], "here ada")
        assert await nodes[0].take([doubling, window], "") == 0
        keys = [key async for key in nodes[0]._redis.scan_iter(f"{nodes[0]._prefix}:*")]
        assert keys
        for key in keys:
            assert await nodes[0]._redis.pttl(key) > 0
            assert "ada" not in key
    finally:
        await nodes[0].close()
