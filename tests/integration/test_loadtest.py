"""The load test against a real node: small, quick, and strict."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from loadtest.peers.ours import Elsewhere
from loadtest.report.progress import Bars
from loadtest.scenarios import chat, connect, fanout, request, storm
from loadtest.scenarios.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.report.model import Result
    from tests.conftest import Nodes


async def measured(nodes: Nodes, scenario: Callable[..., Result], **parameters: Any) -> Result:
    """Run a scenario with one client process against a node of the test."""
    raised = dict.fromkeys(("send_rate", "send_burst", "request_rate", "request_burst", "connect_rate"), 100_000)
    api = await nodes.start(connections_per_user=1000, **raised)

    def run() -> Result:
        with Elsewhere(api.url, None) as peer:
            peer.install()
            return scenario(Context(peer, Bars(1), processes=1, seed=1, accounts=2), **parameters)

    return await asyncio.to_thread(run)


async def test_connections_are_opened_and_authenticated(nodes: Nodes) -> None:
    result = await measured(nodes, connect.run, connections=40, in_flight=10)
    assert result.violations == {}
    assert result.latency is not None
    assert result.latency.count == 40


async def test_every_member_gets_every_message(nodes: Nodes) -> None:
    result = await measured(nodes, fanout.run, members=20, burst=5, deliveries=400)
    assert result.violations == {}
    assert result.latency is not None
    assert result.latency.count > 0


async def test_every_ack_is_in_the_history(nodes: Nodes) -> None:
    result = await measured(nodes, request.run, clients=10, pipelining=4, depth=5, rooms=3, seconds=0.5)
    assert result.violations == {}
    assert result.numbers["requests_per_s"] > 0
    assert result.numbers["pipelined_per_s"] > 0


async def test_messages_at_random_times_reach_their_rooms(nodes: Nodes) -> None:
    result = await measured(nodes, chat.run, rooms=4, members=3, rate_per_s=100.0, seconds=1.0)
    assert result.violations == {}
    assert result.latency is not None
    assert result.latency.count > 100


async def test_everybody_comes_back_and_gets_what_was_missed(nodes: Nodes) -> None:
    result = await measured(nodes, storm.run, connections=20, rooms=2, missed=3)
    assert result.violations == {}
    assert result.numbers["storm_missed"] >= 3
