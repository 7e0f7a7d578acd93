"""What a client process sends: fan-out, requests, chat. Each ends when all of it has arrived, or says what has not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadtest.client.checker import Acks
from loadtest.client.link import Link, Phase
from loadtest.client.setup import Sent, Slot
from loadtest.protocols.base import body_text

if TYPE_CHECKING:
    from loadtest.client.loop import Loop

_ARRIVE_S = 20.0


class Loads:
    """The sending half of a client process."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._seqs: dict[str, int] = {}

    def fanout(self, burst: int, rounds: int, members: int, size: int) -> Sent:
        """Send bursts into the room of the first connection; a round ends when every member, in every process, has all of it.

        Args:
            burst: Messages a round, in one write; 1 is a lone message.
            members: How many connections receive the room, the sender among them.
            size: Characters of a message.
        """
        loop = self._loop
        sender = loop.links[0]
        before, acked_before = loop.total(Slot.DELIVERED), loop.tally.acked
        begun = time.monotonic()
        for number in range(rounds):
            data = b"".join(self._publish(sender, time.monotonic_ns(), size) for _ in range(burst))
            loop.write(sender, data)
            wanted = before + (number + 1) * burst * members
            if not self._until_delivered(wanted):
                missing = wanted - loop.total(Slot.DELIVERED)
                loop.tally.violations.add("loss", f"{missing} deliveries of round {number} did not come within {_ARRIVE_S:g} s")
                break
        seconds = time.monotonic() - begun
        self._until_answered([sender])
        return self._sent(rounds * burst, acked_before, seconds)

    def _until_delivered(self, wanted: int) -> bool:
        """Wait for a total over all processes: watched without a pause, since a round takes but a few milliseconds."""
        loop = self._loop
        end = time.monotonic() + _ARRIVE_S
        while loop.total(Slot.DELIVERED) < wanted:
            if time.monotonic() > end:
                return False
            loop.pump(0.001)
        return True

    def request(self, seconds: float, depth: int, size: int) -> Sent:
        """Let every connection keep `depth` requests in flight for a time, then wait for the last answers."""
        loop = self._loop
        links = [link for link in loop.links if link.phase is Phase.READY]
        acked_before = loop.tally.acked
        loop.tally.of_deliveries = False
        begun = time.monotonic()
        end_ns = time.monotonic_ns() + int(seconds * 1e9)
        sent = 0

        def more(link: Link, count: int) -> None:
            nonlocal sent
            now_ns = time.monotonic_ns()
            if now_ns < end_ns:
                sent += count
                loop.write(link, b"".join(self._echo(link, now_ns, size) for _ in range(count)))

        loop.answered = more
        try:
            for link in links:
                more(link, depth)
            loop.until(lambda: False, seconds)
            self._until_answered(links)
        finally:
            loop.answered = None
            loop.tally.of_deliveries = True
        return self._sent(sent, acked_before, time.monotonic() - begun)

    def chat(self, rate_per_s: float, seconds: float, size: int, one_sender: bool) -> Sent:
        """Send at random times, whether or not the server keeps up; a message counts from when it was due.

        Args:
            rate_per_s: Mean of the Poisson arrivals in this process.
            one_sender: Where the server does not number, a room's messages come from one connection.
        """
        loop = self._loop
        rooms: dict[str, list[Link]] = {}
        for link in loop.links:
            if link.phase is Phase.READY and link.subscribe and link.reading:
                rooms.setdefault(link.room, []).append(link)
        names = list(rooms)
        choose = loop.random
        acked_before, delivered_before = loop.tally.acked, loop.tally.delivered
        expected = sent = 0
        begun_ns = due_ns = time.monotonic_ns()
        end_ns = begun_ns + int(seconds * 1e9)
        senders: set[int] = set()
        while due_ns < end_ns:
            now_ns = time.monotonic_ns()
            while due_ns <= now_ns and due_ns < end_ns:
                members = rooms[choose.choice(names)]
                sender = members[0] if one_sender else choose.choice(members)
                if sender.phase is Phase.READY:
                    loop.write(sender, self._publish(sender, due_ns, size))
                    senders.add(sender.index)
                    sent += 1
                    expected += len(members)
                due_ns += int(choose.expovariate(rate_per_s) * 1e9)
            loop.pump(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
        took = (time.monotonic_ns() - begun_ns) / 1e9
        self._until_answered([loop.links[index] for index in senders])
        if not loop.until(lambda: loop.tally.delivered - delivered_before >= expected, _ARRIVE_S):
            missing = expected - (loop.tally.delivered - delivered_before)
            loop.tally.violations.add("loss", f"{missing} of {expected} deliveries did not come within {_ARRIVE_S:g} s")
        return self._sent(sent, acked_before, took)

    def _publish(self, link: Link, due_ns: int, size: int) -> bytes:
        seq = self._seqs[link.room] = self._seqs.get(link.room, 0) + 1
        request = link.request(due_ns)
        return link.frame(link.dialect.publish(request, link.room, seq, body_text(due_ns, size)), self._loop.masks)

    def _echo(self, link: Link, due_ns: int, size: int) -> bytes:
        request = link.request(due_ns)
        return link.frame(link.dialect.echo(request, link.room, request, body_text(due_ns, size)), self._loop.masks)

    def _until_answered(self, links: list[Link]) -> None:
        if not _acks(links):
            for link in links:
                link.waiting.clear()
            return
        if not self._loop.until(lambda: not any(link.waiting and link.phase is Phase.READY for link in links), _ARRIVE_S):
            missing = sum(len(link.waiting) for link in links)
            self._loop.tally.violations.add("ack", f"{missing} requests were not answered within {_ARRIVE_S:g} s")

    def _sent(self, sent: int, acked_before: int, seconds: float) -> Sent:
        tally = self._loop.tally
        acks, tally.acks = tally.acks, Acks(tally.violations)
        acks.check_dense()
        return Sent(sent, tally.acked - acked_before, seconds, acks.heads())


def _acks(links: list[Link]) -> bool:
    """Tell whether these connections' server answers what is sent to a room."""
    return bool(links) and links[0].dialect.answers
