"""The epoll loop over a process's connections: opens them, answers heartbeats, checks every event.

One thread, no framework: 7 to 8 µs of CPU, the kernel's part included, for a read that brings what others got before, whatever
number of events it holds.
"""

from __future__ import annotations

import heapq
import random
import select
import time
from typing import TYPE_CHECKING, Any

from loadtest.client.link import READ_BYTES, Link, Phase
from loadtest.client.setup import Setup, Slot
from loadtest.client.tally import Tally
from loadtest.protocols import websocket
from loadtest.protocols.base import Acked, Closed, Delivered, Greeted, Ready, Reply, Subscribed

if TYPE_CHECKING:
    from collections.abc import Callable

_IN = select.EPOLLIN
_OUT = select.EPOLLOUT
_ATTEMPTS = 12
_BACK_OFF_S = 0.5
_EVENTS = 512


class Loop:
    """The loop.

    Args:
        setup: Where to connect.
        control_fd: The conductor's end of a pipe: whatever comes there sets `called`.
        board: Shared counters, `Slot` by process.
    """

    def __init__(self, setup: Setup, control_fd: int, board: Any) -> None:
        self.setup = setup
        self.masks = websocket.Masks()
        self.links: list[Link] = []
        self.tally = Tally()
        self.random = random.Random(f"{setup.seed}/{setup.number}")
        self.answered: Callable[[Link, int], None] | None = None
        self.called = False
        self._control_fd = control_fd
        self._board = board
        self._slot = setup.number * len(Slot)
        self._address = (setup.host, setup.port)
        self._authority = f"{setup.host}:{setup.port}"
        self._epoll = select.epoll()
        self._epoll.register(control_fd, _IN)
        self._by_fd: dict[int, Link] = {}
        self._due: list[tuple[int, int]] = []
        self._attempts: dict[int, int] = {}
        self._opening = 0
        self._opening_max = 1
        self._seen = b""
        self._seen_first = self._seen_last = self._seen_stamp_ns = 0

    # -- the loop ---------------------------------------------------------------------------------

    def until(self, true: Callable[[], bool], timeout_s: float) -> bool:
        """Run the loop until a condition holds, at most so long; return whether it holds.

        Raises:
            EOFError: the conductor is gone: it says nothing else while a command runs.
        """
        end_ns = time.monotonic_ns() + int(timeout_s * 1e9)
        while not true():
            left_ns = end_ns - time.monotonic_ns()
            if left_ns <= 0:
                return False
            if self.called:
                raise EOFError
            self.pump(min(0.05, left_ns / 1e9))
        return True

    def pump(self, timeout_s: float) -> None:
        """Wait for sockets at most so long, and do what they call for."""
        if self._due:
            timeout_s = min(timeout_s, self._open_due())
        for fd, what in self._epoll.poll(timeout_s, _EVENTS):
            link = self._by_fd.get(fd)
            if link is None:  # the conductor, or a connection that ended in this round
                self.called |= fd == self._control_fd
                continue
            try:
                if what & _OUT:
                    self._writable(link)
                if what & ~_OUT:
                    self._readable(link)
            except (OSError, websocket.WebSocketError) as failure:
                self._lost(link, failure)
        self._show()

    def total(self, slot: Slot) -> int:
        """Return a counter summed over all processes."""
        return sum(self._board[number * len(Slot) + slot] for number in range(self.setup.processes))

    def _show(self) -> None:
        board, at, tally = self._board, self._slot, self.tally
        board[at] = tally.settled
        board[at + 1] = tally.delivered
        board[at + 2] = tally.acked
        board[at + 3] = tally.lost_count

    # -- opening ----------------------------------------------------------------------------------

    def open_at(self, due_ns: int, link: Link) -> None:
        """Let a connection be opened, not before a time."""
        heapq.heappush(self._due, (due_ns, link.index))

    def settle(self, in_flight: int, timeout_s: float) -> None:
        """Open what is due, at most so many at once, and wait until every connection is where it belongs."""
        self._opening_max = in_flight
        wanted = len(self.links)
        if not self.until(lambda: self.tally.settled + self.tally.given_up >= wanted, timeout_s):
            self.tally.violations.add(
                "connect", f"{wanted - self.tally.settled} of {wanted} connections were not open after {timeout_s:g} s"
            )
        if self.tally.given_up:
            self.tally.violations.add("connect", f"{self.tally.given_up} connections were given up: {dict(self.tally.retried)}")
            self.tally.given_up = 0

    def _open_due(self) -> float:
        """Open what is due; return the seconds until the next may be."""
        due = self._due
        while due and self._opening < self._opening_max:
            now_ns = time.monotonic_ns()
            if due[0][0] > now_ns:
                return (due[0][0] - now_ns) / 1e9
            at_ns, index = heapq.heappop(due)
            link = self.links[index]
            self._opening += 1
            link.open(self._address, max(at_ns, now_ns) if self._attempts.get(index) else now_ns)
            self._by_fd[link.fd] = link
            self._epoll.register(link.fd, _OUT)
        return 1.0

    def _writable(self, link: Link) -> None:
        if link.phase is Phase.CONNECTING:
            link.connected(self._authority)
            self._epoll.modify(link.fd, _IN | (_OUT if link.outbox else 0))
        elif link.flush():
            self._epoll.modify(link.fd, _IN)

    def _ready(self, link: Link) -> None:
        link.phase = Phase.READY
        self.tally.connecting_ns.append(time.monotonic_ns() - link.begun_ns)
        if link.subscribe and link.dialect.framed:
            link.since = link.position.seq if link.position.seq >= 0 else None
            link.subscribing = link.request(link.begun_ns)
            self.send(link, link.dialect.subscribe(link.subscribing, link.room, link.since))
            return
        if link.subscribe:
            link.position.seq = 0
        self._settled(link)

    def _settled(self, link: Link) -> None:
        self._opening -= 1
        self.tally.settled += 1
        self.tally.settling_ns.append(time.monotonic_ns() - link.begun_ns)
        self._attempts.pop(link.index, None)

    def _lost(self, link: Link, failure: Exception | str) -> None:
        """Take the end of a connection: try again while it is being opened, otherwise count it."""
        opening = link.phase in (Phase.CONNECTING, Phase.UPGRADING, Phase.OPEN) or link.subscribing >= 0
        reason = failure if isinstance(failure, str) else str(failure) or type(failure).__name__
        was_ready = link.phase is Phase.READY
        self._forget(link)
        if not opening and was_ready:
            self.tally.settled -= 1
            self.tally.lost_count += 1
            self.tally.lost[reason] += 1
            return
        self._opening -= 1
        self.tally.retried[reason] += 1
        tries = self._attempts[link.index] = self._attempts.get(link.index, 0) + 1
        if tries >= _ATTEMPTS:
            self.tally.given_up += 1
            return
        pause_s = failure.retry_after_s if isinstance(failure, websocket.Refused) else None
        pause_s = _BACK_OFF_S * tries if pause_s is None else pause_s
        heapq.heappush(self._due, (time.monotonic_ns() + int(pause_s * (0.5 + self.random.random()) * 1e9), link.index))

    def drop(self) -> None:
        """Cut every connection."""
        for link in self.links:
            self._forget(link)
        self._due.clear()
        self._opening = self.tally.settled = 0
        self._show()

    def _forget(self, link: Link) -> None:
        if link.fd >= 0:
            self._by_fd.pop(link.fd, None)
            link.close()  # closing takes it out of epoll

    def look_away(self, link: Link) -> None:
        """Stop reading from a connection."""
        link.reading = False
        self._epoll.unregister(link.fd)
        del self._by_fd[link.fd]

    def look_again(self, link: Link) -> None:
        """Read from it again."""
        link.reading = True
        self._by_fd[link.fd] = link
        self._epoll.register(link.fd, _IN)

    # -- what comes -------------------------------------------------------------------------------

    def send(self, link: Link, message: bytes) -> None:
        """Send one message of ours."""
        self.write(link, link.frame(message, self.masks))

    def write(self, link: Link, data: bytes) -> None:
        """Write whole frames; a connection that turns out to be gone counts as lost."""
        try:
            link.write(data)
        except OSError as failure:
            self._lost(link, failure)
            return
        if link.outbox:
            self._epoll.modify(link.fd, _IN | _OUT)

    def _readable(self, link: Link) -> None:
        assert link.socket is not None
        try:
            data = link.socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            raise ConnectionResetError("the server hung up")
        tally = self.tally
        tally.received_bytes += len(data)
        # What goes to a room goes to all of it as the same bytes: compared at once (memcmp), taken apart once.
        if data == self._seen and not link.unread and link.phase is Phase.READY:
            first, last = self._seen_first, self._seen_last
            link.position.delivered(first, last)
            tally.delivered += last - first + 1
            if self._seen_stamp_ns:
                tally.record(time.monotonic_ns() - self._seen_stamp_ns)
            return
        if link.phase is Phase.UPGRADING:
            rest = link.upgraded(data, self.masks)
            if not rest:
                return
            data = rest
        self._take(link, data)

    def _take(self, link: Link, data: bytes) -> None:
        whole = not link.unread
        stream = link.unread + data if link.unread else data
        frames, taken = websocket.server_frames(stream)
        link.unread = stream[taken:] if taken < len(stream) else b""
        events: list[Delivered] = []
        only_events = True
        acked = 0
        for opcode, payload in frames:
            if opcode >= websocket.CLOSE:
                only_events = False
                self._control_frame(link, opcode, payload)
                continue
            for meaning in link.dialect.read(opcode, payload):
                if type(meaning) is Delivered:
                    events.append(meaning)
                    self._delivered(link, meaning, payload)
                    continue
                only_events = False
                if type(meaning) is Acked:
                    acked += self._acked(link, meaning)
                else:
                    self._mean(link, meaning)
            if link.phase is Phase.CLOSED:
                return
        if acked and self.answered is not None:
            self.answered(link, acked)
        if events and only_events and whole and not link.unread and link.phase is Phase.READY:
            self._remember(data, events)

    def _remember(self, data: bytes, events: list[Delivered]) -> None:
        first, last = events[0].seq, events[-1].seq
        if last - first + 1 == len(events):
            self._seen = data
            self._seen_first, self._seen_last = first, last
            self._seen_stamp_ns = events[0].stamp_ns

    def _delivered(self, link: Link, event: Delivered, payload: bytes) -> None:
        if link.dialect.numbers and link.room.encode() not in payload:
            self.tally.violations.add("stray", f"connection {self.setup.number}/{link.index} got an event of another room")
            return
        link.position.delivered(event.seq, event.seq)
        self.tally.delivered += 1
        if event.stamp_ns:
            self.tally.record(time.monotonic_ns() - event.stamp_ns)

    def _acked(self, link: Link, ack: Acked) -> int:
        """Take an ack; return 1 when it answers a send."""
        due_ns = link.waiting.pop(ack.request, None)
        if due_ns is None:
            self.tally.violations.add("ack", f"connection {self.setup.number}/{link.index} got an answer to nothing")
            return 0
        if ack.error:
            self.tally.refused[ack.error] += 1
            if ack.request == link.subscribing:
                self._lost(link, ack.error)
            return 1
        if not due_ns:
            return 0
        self.tally.acked += 1
        self.tally.record_ack(time.monotonic_ns() - due_ns)
        if ack.seq >= 0 and link.dialect.numbers:
            self.tally.acks.add(link.room, ack.seq)
        return 1

    def _mean(self, link: Link, meaning: object) -> None:
        match meaning:
            case Reply(message):
                self.tally.heartbeats += 1
                self.send(link, message)
            case Subscribed(request, head, events):
                self._subscribed(link, request, head, events)
            case Greeted():
                self.send(link, link.dialect.hello(link.credential))
            case Ready():
                self._ready(link)
            case Closed(reason):
                self._lost(link, reason)

    def _subscribed(self, link: Link, request: int, head: int, events: list[int] | None) -> None:
        if events is None:
            self.tally.resets += 1
        self.tally.caught_up += link.position.subscribed(link.since, head, events)
        link.since = None
        if 0 <= request == link.subscribing:  # otherwise the server resets a live subscription by itself
            link.subscribing = -1
            link.waiting.pop(request, None)
            self._settled(link)

    def _control_frame(self, link: Link, opcode: int, payload: bytes) -> None:
        if opcode == websocket.PING:
            self.write(link, websocket.client_frame(websocket.PONG, payload, self.masks.take()))
            self.tally.heartbeats += 1
        elif opcode == websocket.CLOSE:
            code = int.from_bytes(payload[:2], "big")
            text = payload[2:].decode(errors="replace")
            self._lost(link, f"closed {code} {text}".strip())
