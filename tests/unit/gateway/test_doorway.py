"""The door: who goes straight to the gateway, who to the HTTP server with every byte, and who is shown out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from realtime.gateway import doorway as doorways
from realtime.gateway.admission import AdmissionLimits
from realtime.gateway.doorway import DoorLimits, Doorway
from realtime.gateway.engine import EngineConfig, EngineServer
from realtime.gateway.session import CloseReason, Session
from tests.unit.gateway.fakes import Transport
from tests.unit.gateway.test_handshake import TARGET, request


class Peer(Transport):
    """A transport that knows where the connection came from."""

    def __init__(self, address: str = "192.0.2.7") -> None:
        super().__init__()
        self._address = address

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._address, 50_000) if name == "peername" else default


class Http(asyncio.Protocol):
    """Stands for aiohttp's protocol."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.read += data


class Sink:
    def message(self, data: bytes) -> None: ...

    def binary(self, data: bytes) -> None: ...

    def too_large(self, beginning: bytes) -> None:
        raise AssertionError("nothing is too large here")

    def read_all(self) -> None: ...

    def ended(self, reason: CloseReason) -> None: ...


class House:
    """A doorway with what is behind it."""

    def __init__(self, config: EngineConfig) -> None:
        self.sessions: list[Session] = []
        self.reasons: list[CloseReason] = []
        self.https: list[Http] = []
        self.engine = EngineServer(config, self._accept, lambda _session, reason: self.reasons.append(reason))
        self.doorway = Doorway(self.engine, self._http)

    def _accept(self, session: Session) -> None:
        session.sink = Sink()
        self.sessions.append(session)

    def _http(self) -> Http:
        self.https.append(Http())
        return self.https[-1]

    def knock(self) -> tuple[asyncio.Protocol, Peer]:
        """Connect and say nothing."""
        protocol, transport = self.doorway(), Peer()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return protocol, transport

    def arrive(self, *pieces: bytes) -> Peer:
        """Connect and send; each piece goes to whoever has the connection by then."""
        _, transport = self.knock()
        for piece in pieces:
            assert isinstance(transport.protocol, asyncio.Protocol)
            transport.protocol.data_received(piece)
        return transport


Houses = Callable[..., House]


@pytest.fixture
async def house() -> AsyncIterator[Houses]:
    with contextlib.ExitStack() as stack:

        def build(**config: Any) -> House:
            one = House(EngineConfig(**config))
            stack.callback(one.engine.close)
            stack.callback(one.doorway.close)
            return one

        yield build


def status(transport: Peer) -> bytes:
    return transport.writes[0][:12]


async def test_a_session_over_a_websocket_is_open_after_the_first_bytes_and_no_http_is_spoken(house: Houses) -> None:
    one = house(sid_tag="B")
    transport = one.arrive(request())
    assert one.https == []
    [session] = one.sessions
    head, _, frames = transport.writes[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b'0{"sid":"%b"' % session.sid.encode() in frames
    assert b'"upgrades":[]' in frames
    assert (session.sid[0], session.address, session.transport) == ("B", "192.0.2.7", "websocket")
    assert transport.protocol is session.websocket
    assert (len(one.engine), len(one.doorway)) == (1, 0)


@pytest.mark.parametrize(
    "pieces",
    {
        "polling": [request("/socket.io/?EIO=4&transport=polling")],
        "an upgrade": [request(TARGET + "&sid=abc")],
        "REST": [b"GET /api/v1/me HTTP/1.1\r\nHost: a\r\n\r\n"],
        "a head in two pieces": [request()[:100], request()[100:]],
        "byte by byte": [bytes([byte]) for byte in request()],
    }.items(),
    ids=lambda case: case[0],
)
async def test_everything_else_goes_to_http_with_every_byte(house: Houses, pieces: tuple[str, list[bytes]]) -> None:
    one = house()
    transport = one.arrive(*pieces[1])
    [http] = one.https
    assert http.read == b"".join(pieces[1])
    assert http.transport is transport
    assert transport.protocol is http
    assert transport.writes == []
    assert (one.sessions, len(one.doorway)) == ([], 0)


async def test_pages_from_here_and_from_named_places_come_in_and_others_are_answered_by_http(house: Houses) -> None:
    one = house(origins=("https://app.example.org",))
    for origin in ("https://chat.example.org", "https://app.example.org"):
        assert status(one.arrive(request(Origin=origin))) == b"HTTP/1.1 101"
    one.arrive(request(Origin="https://evil.example.org"))
    assert (len(one.sessions), len(one.https)) == (2, 1)


async def test_a_client_counts_for_the_address_that_its_proxies_name(house: Houses) -> None:
    one = house(client_address=lambda peer, forwarded: f"{forwarded} by {peer}")
    one.arrive(request(X_Forwarded_For="203.0.113.9"))
    assert one.sessions[0].address == "203.0.113.9 by 192.0.2.7"


async def test_who_may_not_come_in_now_is_told_so_by_http_and_is_not_counted(house: Houses) -> None:
    one = house(admission=AdmissionLimits(per_node=1))
    one.arrive(request())
    one.arrive(request())
    assert (len(one.sessions), len(one.https)) == (1, 1)
    one.sessions[0].close(CloseReason.CLIENT)
    one.arrive(request())
    assert len(one.sessions) == 2
    one.engine.refuse_new()
    one.arrive(request())
    assert (len(one.sessions), len(one.https)) == (2, 2)


async def test_where_extensions_read_the_environment_http_makes_it(house: Houses) -> None:
    one = house(keep_environ=True)
    one.arrive(request())
    assert (len(one.sessions), len(one.https)) == (0, 1)


async def test_who_goes_without_a_word_is_forgotten(house: Houses) -> None:
    one = house()
    protocol, _ = one.knock()
    assert len(one.doorway) == 1
    protocol.connection_lost(None)
    assert len(one.doorway) == 0


async def test_who_says_nothing_is_shown_out_and_who_came_later_has_time(house: Houses, monkeypatch: pytest.MonkeyPatch) -> None:
    one = house()
    loop = asyncio.get_running_loop()
    due: list[Callable[[], None]] = []

    def call_later(_delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        due.append(callback)
        return asyncio.TimerHandle(0, callback, (), loop)

    monkeypatch.setattr(loop, "call_later", call_later)
    _, early = one.knock()
    _, later = one.knock()
    assert len(due) == 1  # one timer for all of them
    due.pop()()
    _, latest = one.knock()
    assert not early.aborted
    assert isinstance(later.protocol, asyncio.Protocol)
    later.protocol.data_received(b"GET / HTTP/1.1\r\n")
    due.pop()()
    assert (early.aborted, later.aborted, latest.aborted) == (True, False, False)
    assert isinstance(latest.protocol, asyncio.Protocol)
    latest.protocol.connection_lost(None)
    due.pop()()
    assert (len(one.doorway), due) == (0, [])  # nobody to look after, and no timer
    assert 3 <= doorways.SILENCE_S <= 5  # twice of it is what the head of a request has


async def test_a_crowd_is_let_in_by_turns_each_with_all_that_it_said(house: Houses) -> None:
    one = house(client_address=lambda peer, forwarded: forwarded or peer)
    sockets = [one.arrive(request(X_Forwarded_For=f"10.0.0.{number}")) for number in range(doorways.AT_ONCE)]
    head = request()
    late = one.arrive(head[:10], head[10:])
    hasty = one.arrive(b"GET / HTTP/1.1\r\n", b"Host: a\r\n\r\n")
    gone = one.arrive(request())
    assert isinstance(gone.protocol, asyncio.Protocol)
    gone.protocol.connection_lost(None)
    assert all(socket.writes for socket in sockets)
    assert (late.writes, one.https, len(one.sessions)) == ([], [], doorways.AT_ONCE)
    await asyncio.sleep(0)
    assert [http.read for http in one.https] == [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]
    assert (status(late), gone.writes) == (b"HTTP/1.1 101", [])
    assert (len(one.sessions), len(one.doorway), hasty.writes) == (doorways.AT_ONCE + 1, 0, [])
    await asyncio.sleep(0)
    assert one.arrive(request()).writes  # nobody waits any more


async def test_who_says_much_before_it_is_their_turn_is_not_read_from_meanwhile(house: Houses) -> None:
    one = house(client_address=lambda peer, forwarded: forwarded or peer)
    for number in range(doorways.AT_ONCE):
        one.arrive(request(X_Forwarded_For=f"10.0.0.{number}"))
    body = b"x" * 40_000
    loud = one.arrive(b"POST / HTTP/1.1\r\n", body, body)
    assert not loud.reading
    await asyncio.sleep(0)
    assert one.https[0].read == b"POST / HTTP/1.1\r\n" + body + body
    assert loud.reading


async def test_when_the_door_closes_the_silent_are_dropped_and_sessions_stay(house: Houses) -> None:
    one = house()
    _, silent = one.knock()
    talking = one.arrive(request())
    one.doorway.close()
    assert (silent.aborted, talking.aborted) == (True, False)
    assert len(one.engine) == 1


# -- how many ---------------------------------------------------------------------------------------


async def test_an_address_with_too_many_connections_is_refused_and_others_come_in(
    house: Houses, caplog: pytest.LogCaptureFixture
) -> None:
    one = house()
    one.doorway = Doorway(one.engine, one._http, DoorLimits(per_address=3, counts_as=lambda address: address))
    knocked = [_knock(one, "192.0.2.1") for _ in range(5)]
    assert [status(peer) for _, peer in knocked[3:]] == [b"HTTP/1.1 429"] * 2
    assert all(peer.closed for _, peer in knocked[3:])
    assert b"too_many_connections" in knocked[3][1].writes[0]
    assert not _knock(one, "192.0.2.2")[1].writes
    assert len(caplog.records) == 1  # once a minute
    knocked[0][0].connection_lost(None)
    assert not _knock(one, "192.0.2.1")[1].writes


async def test_the_connections_of_a_proxy_are_not_counted_for_it(house: Houses) -> None:
    one = house()
    one.doorway = Doorway(one.engine, one._http, DoorLimits(per_address=1, counts_as=lambda _address: None))
    assert not any(_knock(one, "10.0.0.1")[1].writes for _ in range(20))


async def test_a_process_without_descriptors_refuses_and_takes_connections_again_afterwards(
    house: Houses, caplog: pytest.LogCaptureFixture
) -> None:
    one = house()
    one.doorway = Doorway(one.engine, one._http, DoorLimits(per_node=2))
    first, _ = _knock(one, "192.0.2.1")
    _knock(one, "192.0.2.2")
    assert status(_knock(one, "192.0.2.3")[1]) == b"HTTP/1.1 503"
    assert "files" in caplog.text
    first.connection_lost(None)
    assert not _knock(one, "192.0.2.3")[1].writes


def _knock(one: House, address: str) -> tuple[asyncio.Protocol, Peer]:
    protocol, transport = one.doorway(), Peer(address)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    return protocol, transport
