"""A node has one door to servers of others and one for bytes of others; both cost nothing until they are used."""

from __future__ import annotations

import pytest

from realtime.outbound import refusals as outbound
from realtime.outbound.client import Terms
from realtime.sandbox.pool import Task
from realtime.sandbox.refusals import Reason, Refused
from tests.conftest import Nodes

ECHO = Task("echo", "tests.unit.sandbox.functions:echo", deadline_s=30, cpu_s=5, input_bytes=100, answer_bytes=100)
FETCH = Terms("preview", total_s=10, body_bytes=1000, redirects=3)


async def test_a_node_makes_neither_a_process_nor_a_connection_before_it_is_asked(nodes: Nodes) -> None:
    api = await nodes.start(sandbox_processes=1)
    [node] = nodes.running
    assert (node.sandbox.alive, node.outbound.busy) == (0, 0)

    assert await node.sandbox.run(ECHO, b"foreign") == b"foreign"
    assert node.sandbox.alive == 1
    for url in (api.url, f"{api.url}/healthz", "http://169.254.169.254/latest/meta-data/", "http://localhost/"):
        with pytest.raises(outbound.Refused) as refused:
            await node.outbound.request(FETCH, url)
        assert refused.value.reason in (outbound.Reason.PORT, outbound.Reason.ADDRESS), url

    page = node.metrics.render()[0].decode()
    assert 'roomwire_sandbox_tasks_total{outcome="ok",task="echo"} 1.0' in page
    assert "roomwire_sandbox_processes 1.0" in page
    assert 'roomwire_outbound_requests_total{outcome="address",purpose="preview"} 2.0' in page

    await nodes.stop(0)
    assert node.sandbox.alive == 0
    with pytest.raises(Refused) as closed:
        await node.sandbox.run(ECHO, b"")
    assert closed.value.reason is Reason.CLOSED


async def test_a_node_reaches_the_networks_that_its_operator_lists(nodes: Nodes) -> None:
    api = await nodes.start()
    port = api.url.rpartition(":")[2]
    await nodes.start(outbound_networks="127.0.0.0/8", outbound_ports=f"443,{port}")
    answer = await nodes.running[1].outbound.request(FETCH, f"{api.url}/healthz")
    assert (answer.status, answer.complete) == (200, True)
