"""The client over a real socket, against a server that does as a test says: what is planted is found."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from loadtest.client.setup import Place, Setup
from loadtest.client.worker import Worker
from loadtest.protocols import websocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

ROOM = "01890a5d-ac96-774b-bcce-b302099a8057"


def frame(text: str) -> bytes:
    data = text.encode()
    return b"\x81" + (bytes((len(data),)) if len(data) < 126 else b"\x7e" + len(data).to_bytes(2, "big")) + data


def created(seq: int, room: str = ROOM) -> bytes:
    return frame(
        f'42["message.created",{{"kind":"message.created","room":"{room}","seq":{seq},"at":"x","actor":"a","body":"1|x"}}]'
    )


class Side:
    """The server's end of one connection."""

    def __init__(self, one: socket.socket) -> None:
        self.socket = one
        self.socket.settimeout(5)
        self._unread = b""

    def head(self) -> bytes:
        """Read a request's head."""
        while b"\r\n\r\n" not in self._unread:
            self._unread += self.socket.recv(4096)
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        return head

    def message(self) -> str:
        """Read one masked frame of less than 64 KiB."""
        first = self._exactly(2)
        size = first[1] & 127
        if size == 126:
            size = int.from_bytes(self._exactly(2), "big")
        mask = self._exactly(4)
        return bytes(byte ^ mask[number % 4] for number, byte in enumerate(self._exactly(size))).decode()

    def _exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._unread += self.socket.recv(4096)
        taken, self._unread = self._unread[:count], self._unread[count:]
        return taken

    def welcome(self, head_seq: int = 0, events: str = "") -> None:
        """Do what a server does until the connection receives its room."""
        head = self.head()
        key = next(line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        self.socket.sendall(
            b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: " + websocket.accept_of(key) + b"\r\n\r\n" + frame('0{"sid":"s"}')
        )
        assert self.message() == '40{"token":"secret"}'
        self.socket.sendall(frame('40{"sid":"s"}') + frame('42["ready",{"user":{}}]'))
        assert self.message().startswith('420["room.subscribe"')
        answer = f'{{"room":"{ROOM}","head_seq":{head_seq},"role":"member","events":[{events}]}}'
        self.socket.sendall(frame(f'430[{{"ok":true,"rooms":[{answer}]}}]'))


@contextlib.contextmanager
def client_of(
    *scripts: Callable[[Side], None], conductor: list[Connection] | None = None
) -> Iterator[tuple[Worker, list[BaseException]]]:
    """Run a server that serves one connection after the other by a script each, and a client for it."""
    failures: list[BaseException] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            for script in scripts:
                one, _ = listener.accept()
                with one:
                    try:
                        script(Side(one))
                    except BaseException as failure:  # noqa: BLE001 - told to the test
                        failures.append(failure)

        thread = threading.Thread(target=serve)
        thread.start()
        ours: Connection
        theirs: Connection
        ours, theirs = multiprocessing.Pipe()
        if conductor is not None:
            conductor.append(ours)
        with ours, theirs:
            worker = Worker(Setup("roomwire", "127.0.0.1", listener.getsockname()[1], 0, 1, 1), theirs, [0, 0, 0, 0])
            try:
                yield worker, failures
            finally:
                worker.loop.drop()
                thread.join()


def until_closed(side: Side) -> None:
    """Wait until the client goes."""
    with contextlib.suppress(ConnectionResetError):
        while side.socket.recv(4096):
            pass


def arrived(worker: Worker, count: int, within_s: float) -> bool:
    return worker.loop.until(lambda: worker.loop.tally.delivered >= count, within_s)


def connect(worker: Worker, count: int = 1) -> None:
    worker.connect([Place("secret", ROOM)] * count, 0.0, 10, 0, 5.0)


@pytest.mark.parametrize(
    ("seqs", "found"),
    [
        ([1, 2, 3], {}),
        ([1, 3], {"loss": 1}),
        ([2, 3], {"loss": 1}),
        ([1, 2, 2, 3], {"double or disorder": 1}),
        ([1, 3, 2], {"loss": 1, "double or disorder": 1}),
    ],
)
@pytest.mark.parametrize("pieces", [1, 0])
def test_what_a_server_does_wrong_is_found(seqs: list[int], found: dict[str, int], pieces: int) -> None:
    def script(side: Side) -> None:
        side.welcome()
        data = b"".join(created(seq) for seq in seqs)
        for at in range(0, len(data), len(data) if pieces else 7):
            side.socket.sendall(data[at : at + (len(data) if pieces else 7)])
        until_closed(side)

    with client_of(script) as (worker, failures):
        connect(worker)
        assert arrived(worker, len(seqs), 5.0)
        gathered = worker.collect()
    assert not failures
    assert dict(gathered.violations.counts) == found
    assert gathered.deliveries == len(seqs)


def test_an_event_of_another_room_is_found() -> None:
    def script(side: Side) -> None:
        side.welcome()
        side.socket.sendall(created(1, "01890a5d-0000-774b-bcce-b302099a8057") + created(1))
        until_closed(side)

    with client_of(script) as (worker, _):
        connect(worker)
        assert arrived(worker, 1, 5.0)
        assert dict(worker.collect().violations.counts) == {"stray": 1}


def test_the_same_bytes_on_two_connections_are_checked_on_each() -> None:
    go, more = threading.Event(), threading.Event()
    sides: list[Side] = []

    def first(side: Side) -> None:
        side.welcome()
        sides.append(side)
        side.socket = side.socket.dup()  # kept open for the second script

    def second(side: Side) -> None:
        side.welcome()
        go.wait(5)
        for one in (sides[0], side):
            one.socket.sendall(created(1) + created(2))
        more.wait(5)
        sides[0].socket.sendall(created(4))
        side.socket.sendall(created(3) + created(4))
        until_closed(side)
        sides[0].socket.close()

    with client_of(first, second) as (worker, failures):
        connect(worker, 2)
        go.set()
        assert arrived(worker, 4, 5.0)
        more.set()
        assert arrived(worker, 7, 5.0)
        gathered = worker.collect()
    assert not failures
    assert dict(gathered.violations.counts) == {"loss": 1}
    assert gathered.deliveries == 7


def test_a_partial_resume_is_found_and_a_whole_one_is_not() -> None:
    def before(side: Side) -> None:
        side.welcome()
        side.socket.sendall(created(1))
        until_closed(side)

    def after(side: Side) -> None:
        side.welcome(4, '{"seq":2},{"seq":4}')
        until_closed(side)

    with client_of(before, after) as (worker, failures):
        connect(worker)
        assert arrived(worker, 1, 5.0)
        worker.loop.drop()
        worker.back(0.0, 0.0, 1, 5.0)
        gathered = worker.collect()
    assert not failures
    assert dict(gathered.violations.counts) == {"resume": 1}


def test_a_refused_upgrade_is_tried_again_after_the_time_that_was_asked_for() -> None:
    def refuse(side: Side) -> None:
        side.head()
        side.socket.sendall(b"HTTP/1.1 503 x\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")

    def welcome(side: Side) -> None:
        side.welcome()
        until_closed(side)

    with client_of(refuse, welcome) as (worker, failures):
        connect(worker)
        gathered = worker.collect()
    assert not failures
    assert dict(gathered.retried) == {"the upgrade was answered 503": 1}
    assert not gathered.violations


def test_heartbeats_are_answered_and_a_close_is_told() -> None:
    def script(side: Side) -> None:
        side.welcome()
        side.socket.sendall(frame("2") + b"\x89\x02hi")
        assert {side.message(), side.message()} == {"3", "hi"}
        side.socket.sendall(b"\x88\x06" + (4008).to_bytes(2, "big") + b"slow")
        until_closed(side)

    with client_of(script) as (worker, failures):
        connect(worker)
        worker.hold(0.3)
        gathered = worker.collect()
    assert not failures
    assert gathered.heartbeats == 2
    assert dict(gathered.lost) == {"closed 4008 slow": 1}


def test_a_conductor_that_is_gone_ends_the_work() -> None:
    def script(side: Side) -> None:
        side.welcome()
        until_closed(side)

    conductor: list[Connection] = []
    with client_of(script, conductor=conductor) as (worker, _):
        connect(worker)
        conductor[0].close()
        with pytest.raises(EOFError):
            worker.hold(5.0)
