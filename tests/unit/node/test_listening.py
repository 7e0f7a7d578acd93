"""Where the server listens, what it says about it, and why it cannot."""

from __future__ import annotations

import socket

import pytest

from realtime.config import ConfigError
from realtime.node import listening

IPV6 = True
try:
    with socket.socket(socket.AF_INET6) as one:
        one.bind(("::1", 0))
except OSError:
    IPV6 = False
needs_ipv6 = pytest.mark.skipif(not IPV6, reason="this machine has no IPv6")


def answers(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as client:
        return client.connect_ex((address, port)) == 0


@needs_ipv6
@pytest.mark.parametrize(
    ("host", "ipv4", "ipv6", "said"),
    [
        ("127.0.0.1", True, False, "http://127.0.0.1:{}"),
        ("0.0.0.0", True, False, "http://127.0.0.1:{}"),
        ("::", False, True, "http://[::1]:{}"),
        ("::1", False, True, "http://[::1]:{}"),
        ("*", True, True, "http://127.0.0.1:{}"),
        ("", True, True, "http://127.0.0.1:{}"),
    ],
)
@pytest.mark.parametrize("share", [False, True])
def test_what_is_announced_listens(host: str, ipv4: bool, ipv6: bool, said: str, share: bool) -> None:
    with listening.bound(host, 0, share=share) as sockets:
        port = listening.port_of(sockets)
        assert not answers("127.0.0.1", port), "nobody is let in before the server is ready"
        for one in sockets:
            one.listen()
        assert (answers("127.0.0.1", port), answers("::1", port)) == (ipv4, ipv6)
        assert listening.url(host, sockets) == said.format(port)
        assert listening.announcement(host, sockets).startswith(f"Roomwire is at {said.format(port)} ")


def test_every_address_is_said_by_its_families() -> None:
    with listening.bound("0.0.0.0", 0) as sockets:
        assert " and every IPv4 address of this machine " in listening.announcement("0.0.0.0", sockets)


def test_localhost_is_every_family_that_it_has() -> None:
    with listening.bound("localhost", 0) as sockets:
        port = listening.port_of(sockets)
        for one in sockets:
            one.listen()
        assert listening.url("localhost", sockets) == f"http://localhost:{port}"
        assert answers("127.0.0.1", port)


def test_a_zone_is_escaped_in_the_link() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        assert listening.url("fe80::1%eth0", [one]) == f"http://[fe80::1%25eth0]:{port}"


def test_a_machine_without_ipv6_listens_on_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def without(family: int = socket.AF_INET, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *rest)

    monkeypatch.setattr(socket, "socket", without)
    with listening.bound("*", 0) as sockets:
        assert [one.family for one in sockets] == [socket.AF_INET]
    with pytest.raises(ConfigError, match="no such address"), listening.bound("::", 0):
        pass


@pytest.mark.parametrize("share", [False, True])
def test_a_port_in_use_is_a_sentence_with_the_settings_name(share: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = rf"^Cannot listen on 127.0.0.1:{port}: another program .*ROOMWIRE_PORT or --port.$"
        with pytest.raises(ConfigError, match=said), listening.bound("127.0.0.1", port, share=share):
            pass


def test_a_server_of_ours_with_workers_keeps_a_second_one_out() -> None:
    with listening.bound("127.0.0.1", 0, share=True) as sockets:
        port = listening.port_of(sockets)
        joined = listening.join("127.0.0.1", port)
        joined[0].listen()
        with pytest.raises(ConfigError, match="another program"), listening.bound("127.0.0.1", port, share=True):
            pass
        for one in joined:
            one.close()


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.1", r"192.0.2.1:\d+: this machine has no such address. Check ROOMWIRE_HOST"),
        ("no-such-name.invalid", "'no-such-name.invalid' is not an address of this machine.*ROOMWIRE_HOST"),
        ("300.1.2.3", "ROOMWIRE_HOST"),
    ],
)
def test_an_address_that_is_not_here_is_a_sentence_with_the_settings_name(host: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why), listening.bound(host, 4711):
        pass


def test_a_port_of_roots_is_a_sentence() -> None:
    error = listening.cannot_listen("*", 80, PermissionError(13, "Permission denied"))
    assert str(error) == (
        "Cannot listen on *:80: ports below 1024 are for root. Choose another port with ROOMWIRE_PORT or --port."
    )
