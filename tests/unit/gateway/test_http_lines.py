"""An HTTP connection over a fake transport: what is parsed in a turn, how long a head may take, and who is too slow a reader."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from realtime.gateway.gate import Gate
from realtime.gateway.http_lines import HEAD_S, HttpLine, HttpLines
from realtime.limits import Buckets
from tests.unit.gateway.fakes import Loop, Transport

STALL_S = 10.0


class Inner(asyncio.Protocol):
    """Stands for aiohttp's."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.pieces: list[bytes] = []
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class Peer(Transport):
    """A transport whose peer has an address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self._address, 40_000) if name == "peername" else default

    def is_reading(self) -> bool:
        return self.reading


class Wired:
    """Lines over fake transports."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.inners: list[Inner] = []
        self.lines = HttpLines(self._http, STALL_S, self.loop.asyncio)

    def _http(self) -> Inner:
        self.inners.append(Inner())
        return self.inners[-1]

    def connect(self, address: str = "192.0.2.1") -> tuple[HttpLine, Inner, Peer]:
        line, transport = self.lines(), Peer(address)
        transport.set_protocol(line)
        line.connection_made(transport)
        return line, self.inners[-1], transport

    def answering(self) -> tuple[HttpLine, Inner, Peer]:
        """A connection whose first request has come."""
        line, inner, transport = self.connect()
        line.begun("192.0.2.1")
        line.ended(None)
        return line, inner, transport


@pytest.fixture
def wired() -> Wired:
    return Wired()


def test_a_read_is_parsed_in_slices_and_nothing_is_read_meanwhile(wired: Wired) -> None:
    line, inner, transport = wired.connect()
    data = bytes(range(256)) * 64
    line.data_received(data)
    assert len(inner.pieces) == 1
    assert not transport.reading
    wired.loop.advance(0)
    assert b"".join(inner.pieces) == data
    assert max(map(len, inner.pieces)) <= 4096
    assert transport.reading


def test_while_aiohttp_has_enough_nothing_more_is_parsed_and_afterwards_everything_is(wired: Wired) -> None:
    line, inner, transport = wired.connect()
    line.pause_reading()
    line.data_received(b"x" * 10_000)
    wired.loop.advance(1)
    assert inner.pieces == []
    assert not transport.reading
    line.resume_reading()
    wired.loop.advance(0)
    assert b"".join(inner.pieces) == b"x" * 10_000
    assert transport.reading


def test_a_head_that_trickles_is_dropped_after_its_time_however_often_it_moves(wired: Wired) -> None:
    line, _, transport = wired.connect()
    for _ in range(int(HEAD_S) - 1):
        line.data_received(b"G")
        wired.loop.advance(1)
    assert not transport.aborted
    wired.loop.advance(1)
    assert transport.aborted


def test_a_request_that_is_whole_in_time_may_be_answered_as_late_as_it_needs(wired: Wired) -> None:
    line, _, transport = wired.connect()
    line.data_received(b"GET / HTTP/1.1\r\n\r\n")
    line.begun("192.0.2.1")
    wired.loop.advance(60)
    line.ended(None)
    wired.loop.advance(60)
    assert not transport.aborted
    line.data_received(b"GET")
    wired.loop.advance(HEAD_S)
    assert transport.aborted


def test_an_answer_that_nobody_takes_is_dropped_with_its_connection(wired: Wired) -> None:
    line, _, transport = wired.answering()
    transport.stalled = True
    line.write(b"x" * 1_000)
    wired.loop.advance(STALL_S - 0.1)
    assert not transport.aborted
    wired.loop.advance(0.2)
    assert transport.aborted


def test_a_reader_that_takes_a_little_all_the_time_gets_its_whole_answer(wired: Wired) -> None:
    line, _, transport = wired.answering()
    transport.stalled = True
    line.write(b"x" * 1_000)
    for _ in range(20):
        wired.loop.advance(STALL_S - 1)
        transport.take(1)
    assert not transport.aborted
    transport.take(1_000)
    wired.loop.advance(60)
    assert not transport.aborted


def test_a_close_that_waits_for_a_reader_who_takes_nothing_is_ended_by_force(wired: Wired) -> None:
    line, _, transport = wired.answering()
    transport.stalled = True
    line.write(b"x" * 1_000)
    line.close()
    wired.loop.advance(STALL_S + 1)
    assert transport.aborted


def test_what_is_unread_counts_for_the_address_and_the_user_until_it_is_taken_or_lost(wired: Wired) -> None:
    line, _, transport = wired.connect()
    other, _, stalled = wired.connect()
    transport.stalled = stalled.stalled = True
    for one in (line, other):
        one.begun("192.0.2.1")
        one.ended("anna")
        one.write(b"x" * 500)
    assert (wired.lines.unsent_bytes("192.0.2.1"), wired.lines.unsent_bytes("anna")) == (1_000, 1_000)
    transport.take(500)
    assert wired.lines.unsent_bytes("anna") == 500
    other.connection_lost(None)
    assert wired.lines.unsent_bytes("anna") == 0
    assert wired.lines.unsent_bytes("192.0.2.1") == 0


def test_connections_are_counted_by_address_until_they_end_or_become_something_else(wired: Wired) -> None:
    first, inner, _ = wired.connect()
    second, _, transport = wired.connect("2001:db8::1")
    assert (len(wired.lines), dict(wired.lines.open)) == (2, {"192.0.2.1": 1, "2001:db8::/64": 1})
    first.connection_lost(None)
    assert inner.is_lost
    transport.reading = False
    assert second.let_go() is transport
    assert transport.reading
    assert (len(wired.lines), dict(wired.lines.open)) == (0, {})


async def test_of_many_requests_a_few_begin_in_a_turn_and_the_addresses_take_turns() -> None:
    gate = Gate(lambda peer, _: peer, Buckets(1e9, 1e9), 1 << 20, lambda error: web.Response(status=error.status), lambda _: None)
    begun: list[str] = []

    async def enter(key: str) -> None:
        await gate._enter(key)
        begun.append(key)

    async with asyncio.TaskGroup() as group:
        for _ in range(200):
            group.create_task(enter("flood"))
        group.create_task(enter("honest"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert "honest" in begun
        assert len(begun) < 60
    assert len(begun) == 201
