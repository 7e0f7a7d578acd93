"""How Redis is named."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import SSLConnection

from realtime import redis_url


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://u:p@h", "unix:///tmp/x.sock", "unix:///tmp/x.sock?db=1"])
def test_one_server(url: str) -> None:
    assert redis_url.parse(url) == (False, (url,))
    assert isinstance(redis_url.client(url), Redis)


def test_a_cluster_is_named_by_some_of_its_servers_and_others_are_reached_the_same_way() -> None:
    servers = redis_url.parse("rediss+cluster://me:p%40ss@a:7001,b,[::1]:7003?ssl_ca_certs=/ca.pem")
    assert servers.cluster
    assert servers.urls == tuple(f"rediss://me:p%40ss@{host}/0?ssl_ca_certs=/ca.pem" for host in ("a:7001", "b", "[::1]:7003"))
    assert servers.at("10.0.0.1", 7) == "rediss://me:p%40ss@10.0.0.1:7/0?ssl_ca_certs=/ca.pem"
    assert servers.at("::2", 7) == "rediss://me:p%40ss@[::2]:7/0?ssl_ca_certs=/ca.pem"
    connection = redis_url.connection(servers.urls[0])
    assert isinstance(connection, SSLConnection)
    assert (connection.password, connection.ca_certs, connection.check_hostname) == ("p@ss", "/ca.pem", True)


async def test_the_client_of_a_cluster_knows_all_that_are_named() -> None:
    client = redis_url.client("redis+cluster://a:1,b")
    assert isinstance(client, RedisCluster)
    assert {(node.host, node.port) for node in client.startup_nodes} == {("a", 1), ("b", 6379)}


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "redis+cluster://",
        "redis+cluster://h/3",
        "unix+cluster:///x",
        "h:6379",
        "redis://h:port",
        "redis+cluster://h:1,h:x",
    ],
)
def test_what_is_none_of_these_is_refused_without_saying_what_it_was(url: str) -> None:
    with pytest.raises(ValueError, match=r"\S") as caught:
        redis_url.parse(url)
    assert url not in str(caught.value)
