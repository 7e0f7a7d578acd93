"""WebSocket frames against the raw echo peer, by the numbers of Autobahn's test-suite: groups 1 to 7, 9 and 10.

Each test names the cases that it covers. What the suite sends with pauses of a second is sent with a ping instead: a pong
behind it says that the server had read everything before.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, NamedTuple

import pytest

from realtime.gateway.transport import READ_TIMES
from tests.conformance.peer import serving
from tests.conformance.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, RawSocket, frame

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NORMAL, PROTOCOL_ERROR, INVALID_DATA = 1000, 1002, 1007


class Peer(NamedTuple):
    """A connection to the echo."""

    socket: RawSocket

    def write(self, raw: bytes, chop: int = 0) -> None:
        """Send bytes at once, or in pieces that are segments of their own."""
        for at in range(0, len(raw), chop or len(raw)):
            self.socket.write(raw[at : at + (chop or len(raw))])

    async def hears(self, *frames: tuple[int, bytes]) -> None:
        for one in frames:
            opcode, payload = await self.socket.receive(20)
            assert (opcode, len(payload)) == (one[0], len(one[1]))
            assert payload == one[1]

    async def closes(self, code: int = NORMAL) -> None:
        """Close as a client does, and see that nothing else comes."""
        self.write(frame(code.to_bytes(2, "big"), CLOSE))
        await self.is_closed(code)

    async def is_closed(self, code: int) -> None:
        opcode, payload = await self.socket.receive()
        assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
        with pytest.raises(asyncio.IncompleteReadError):
            await self.socket.receive()

    async def is_read(self) -> None:
        """Return when the server has read what was sent before, and said nothing."""
        self.write(frame(b"read?", PING))
        await self.hears((PONG, b"read?"))


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with serving("websocket") as (url, _):
        socket, status, _ = await RawSocket.upgrade(url, path="/")
        assert status == 101
        yield Peer(socket)
        socket.close()


# -- 1: framing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 125, 126, 127, 128, 65535, 65536])
async def test_1_messages_of_every_length_field_come_back(peer: Peer, opcode: int, size: int) -> None:
    payload = (b"*" if opcode == TEXT else b"\xfe") * size
    peer.write(frame(payload, opcode))
    await peer.hears((opcode, payload))
    await peer.closes()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_1_1_8_and_1_2_8_a_message_in_chops_comes_back(peer: Peer, opcode: int) -> None:
    payload = b"\x41" * 65536
    peer.write(frame(payload, opcode), chop=997)
    await peer.hears((opcode, payload))
    await peer.closes()


# -- 2: pings and pongs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "chop"),
    [(b"", 0), (b"Hello, world!", 0), (b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 0), (b"\xfe" * 125, 0), (b"\xfe" * 125, 1)],
    ids=["2.1", "2.2", "2.3", "2.4", "2.6"],
)
async def test_2_a_ping_is_answered_with_its_payload(peer: Peer, payload: bytes, chop: int) -> None:
    peer.write(frame(payload, PING), chop)
    await peer.hears((PONG, payload))
    await peer.closes()


async def test_2_5_a_ping_of_126_bytes_is_an_error(peer: Peer) -> None:
    peer.write(frame(b"\xfe" * 126, PING))
    await peer.is_closed(PROTOCOL_ERROR)


@pytest.mark.parametrize("payload", [b"", b"unsolicited pong payload"], ids=["2.7", "2.8"])
async def test_2_a_pong_that_nobody_asked_for_is_ignored(peer: Peer, payload: bytes) -> None:
    peer.write(frame(payload, PONG))
    await peer.is_read()  # 2.9: and a ping behind it is answered
    await peer.closes()


@pytest.mark.parametrize("chop", [0, 1], ids=["2.10", "2.11"])
async def test_2_ten_pings_are_answered_in_order(peer: Peer, chop: int) -> None:
    pings = [b"payload-%d" % number for number in range(10)]
    peer.write(b"".join(frame(one, PING) for one in pings), chop)
    await peer.hears(*((PONG, one) for one in pings))
    await peer.closes()


# -- 3: reserved bits, 4: opcodes -----------------------------------------------------------------

HELLO = b"Hello, world!"
GOOD = frame(HELLO)


@pytest.mark.parametrize(
    ("before", "wrong"),
    [
        pytest.param(b"", frame(HELLO, rsv=1), id="3.1"),
        pytest.param(GOOD, frame(HELLO, rsv=2) + frame(b"", PING), id="3.2"),
        pytest.param(GOOD, frame(HELLO, rsv=3) + frame(b"", PING), id="3.3"),
        pytest.param(GOOD, frame(HELLO, rsv=4) + frame(b"", PING), id="3.4"),
        pytest.param(b"", frame(b"\x00\xff\xfe", BINARY, rsv=5), id="3.5"),
        pytest.param(b"", frame(HELLO, PING, rsv=6), id="3.6"),
        pytest.param(b"", frame(b"\x03\xe8", CLOSE, rsv=7), id="3.7"),
        pytest.param(b"", frame(b"", 3), id="4.1.1"),
        pytest.param(b"", frame(b"reserved opcode payload", 4), id="4.1.2"),
        pytest.param(GOOD, frame(b"", 5) + frame(b"", PING), id="4.1.3"),
        pytest.param(GOOD, frame(HELLO, 6) + frame(b"", PING), id="4.1.4"),
        pytest.param(GOOD, frame(HELLO, 7) + frame(b"", PING), id="4.1.5"),
        pytest.param(b"", frame(b"", 11), id="4.2.1"),
        pytest.param(b"", frame(b"reserved opcode payload", 12), id="4.2.2"),
        pytest.param(GOOD, frame(b"", 13) + frame(b"", PING), id="4.2.3"),
        pytest.param(GOOD, frame(HELLO, 14) + frame(b"", PING), id="4.2.4"),
        pytest.param(GOOD, frame(HELLO, 15) + frame(b"", PING), id="4.2.5"),
    ],
)
@pytest.mark.parametrize("chop", [0, 1], ids=["whole", "octets"])
async def test_3_and_4_what_is_reserved_is_an_error_behind_what_was_good(
    peer: Peer, before: bytes, wrong: bytes, chop: int
) -> None:
    peer.write(before + wrong, chop)
    await peer.hears(*[(TEXT, HELLO)] * bool(before))
    await peer.is_closed(PROTOCOL_ERROR)


# -- 5: fragments ---------------------------------------------------------------------------------

FIRST, REST = frame(b"fragment1", fin=False), frame(b"fragment2", CONTINUATION)
PINGED = frame(b"ping payload", PING)
ENDED_NOTHING = frame(b"non-continuation payload", CONTINUATION)
CONTINUED_NOTHING = frame(b"non-continuation payload", CONTINUATION, fin=False)


@pytest.mark.parametrize(
    ("raw", "answers", "chop"),
    [
        pytest.param(FIRST + REST, [(TEXT, b"fragment1fragment2")], 0, id="5.3"),
        pytest.param(FIRST + REST, [(TEXT, b"fragment1fragment2")], 15, id="5.4"),
        pytest.param(FIRST + REST, [(TEXT, b"fragment1fragment2")], 1, id="5.5"),
        pytest.param(FIRST + PINGED + REST, [(PONG, b"ping payload"), (TEXT, b"fragment1fragment2")], 0, id="5.6"),
        pytest.param(FIRST + PINGED + REST, [(PONG, b"ping payload"), (TEXT, b"fragment1fragment2")], 18, id="5.7"),
        pytest.param(FIRST + PINGED + REST, [(PONG, b"ping payload"), (TEXT, b"fragment1fragment2")], 1, id="5.8"),
    ],
)
async def test_5_fragments_are_joined_and_control_frames_go_in_between(
    peer: Peer, raw: bytes, answers: list[tuple[int, bytes]], chop: int
) -> None:
    peer.write(raw, chop)
    await peer.hears(*answers)
    await peer.closes()


@pytest.mark.parametrize(
    ("raw", "answered"),
    [
        pytest.param(frame(b"fragment1", PING, fin=False) + REST, False, id="5.1"),
        pytest.param(frame(b"fragment1", PONG, fin=False) + REST, False, id="5.2"),
        pytest.param(ENDED_NOTHING + GOOD, False, id="5.9-11"),
        pytest.param(CONTINUED_NOTHING + GOOD, False, id="5.12-14"),
        pytest.param(FIRST + REST + CONTINUED_NOTHING + GOOD, True, id="5.15"),
        pytest.param((CONTINUED_NOTHING + FIRST + REST) * 2, False, id="5.16"),
        pytest.param((ENDED_NOTHING + FIRST + REST) * 2, False, id="5.17"),
        pytest.param(FIRST + frame(b"fragment2"), False, id="5.18"),
    ],
)
@pytest.mark.parametrize("chop", [0, 16, 1], ids=["whole", "chops", "octets"])
async def test_5_what_continues_nothing_is_an_error(peer: Peer, raw: bytes, answered: bool, chop: int) -> None:
    peer.write(raw, chop)
    await peer.hears(*[(TEXT, b"fragment1fragment2")] * answered)
    await peer.is_closed(PROTOCOL_ERROR)


async def test_5_19_and_5_20_pings_are_answered_before_the_message_that_they_interrupt(peer: Peer) -> None:
    peer.write(FIRST + frame(b"fragment2", CONTINUATION, fin=False) + frame(b"pongme 1!", PING))
    await peer.hears((PONG, b"pongme 1!"))
    peer.write(b"".join(frame(b"fragment%d" % number, CONTINUATION, fin=False) for number in (3, 4)) + frame(b"pongme 2!", PING))
    await peer.hears((PONG, b"pongme 2!"))
    peer.write(frame(b"fragment5", CONTINUATION))
    await peer.hears((TEXT, b"fragment1fragment2fragment3fragment4fragment5"))
    await peer.closes()


# -- 6: UTF-8 -------------------------------------------------------------------------------------

GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5".encode()
MIXED = "Hello-µ@ßöäüàá-UTF-8!!".encode()
SURROGATE = GREEK + b"\xed\xa0\x80edited"


def fragments(*payloads: bytes) -> bytes:
    last = len(payloads) - 1
    return b"".join(frame(one, CONTINUATION if at else TEXT, fin=at == last) for at, one in enumerate(payloads))


@pytest.mark.parametrize(
    "payloads",
    [
        pytest.param([b""], id="6.1.1"),
        pytest.param([b"", b"", b""], id="6.1.2"),
        pytest.param([b"", b"middle frame payload", b""], id="6.1.3"),
        pytest.param([MIXED], id="6.2.1"),
        pytest.param([MIXED[:12], MIXED[12:]], id="6.2.2"),
        pytest.param([MIXED[at : at + 1] for at in range(len(MIXED))], id="6.2.3"),
        pytest.param([GREEK[at : at + 1] for at in range(len(GREEK))], id="6.2.4"),
    ],
)
async def test_6_1_and_6_2_text_may_be_cut_anywhere_and_be_empty(peer: Peer, payloads: list[bytes]) -> None:
    peer.write(fragments(*payloads))
    await peer.hears((TEXT, b"".join(payloads)))
    await peer.closes()


@pytest.mark.parametrize(
    "raw",
    [fragments(SURROGATE), fragments(*(SURROGATE[at : at + 1] for at in range(len(SURROGATE))))],
    ids=["6.3.1", "6.3.2"],
)
async def test_6_3_wrong_text_is_an_error_however_it_is_cut(peer: Peer, raw: bytes) -> None:
    peer.write(raw)
    await peer.is_closed(INVALID_DATA)


TOO_HIGH = b"\xf4\x90\x80\x80"  # U+110000, wrong from its second byte on


@pytest.mark.parametrize("wrong", [TOO_HIGH, TOO_HIGH[:2]], ids=["6.4.1", "6.4.2"])
async def test_6_4_wrong_text_in_a_fragment_is_refused_before_the_message_ends(peer: Peer, wrong: bytes) -> None:
    peer.write(frame(GREEK, fin=False))
    await peer.is_read()
    peer.write(frame(wrong, CONTINUATION, fin=False))
    await peer.is_closed(INVALID_DATA)


@pytest.mark.parametrize(("good", "wrong"), [(GREEK, TOO_HIGH), (GREEK + b"\xf4", b"\x90")], ids=["6.4.3", "6.4.4"])
async def test_6_4_wrong_text_inside_a_frame_is_refused_before_the_frame_ends(peer: Peer, good: bytes, wrong: bytes) -> None:
    raw = frame(good + wrong + b"edited")
    end_of_good = 6 + len(good)
    await peer.is_read()
    peer.write(raw[:end_of_good])
    await asyncio.sleep(0.02)  # its own segment, mostly; where it is not, the whole is refused all the same
    peer.write(raw[end_of_good : end_of_good + len(wrong)])
    await peer.is_closed(INVALID_DATA)


def utf8_cases() -> list[tuple[str, bytes, bool]]:
    """Name, bytes, and whether they are UTF-8: 6.5 to 6.23, after Markus Kuhn's stress test for decoders."""
    good = [
        "hello$world", "hello¢world", "hello€world", "hello\U00024b62world", GREEK.decode(),
        "\x00", "\x80", "\u0800", "\U00010000", "\x7f", "\u07ff", "\uffff", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd",
        *(chr(plane << 16 | low) for plane in range(17) for low in (0xFFFE, 0xFFFF)),
        *map(chr, range(0xFFF9, 0xFFFE)),
    ]  # fmt: skip
    bad = [
        "f888808080 fc8480808080", "f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf f4908080",
        "80 bf 80bf 80bf80 80bf80bf 80bf80bf80 80bf80bf80bf",
        "c0 e080 f08080 f8808080 fc80808080 df efbf f7bfbf fbbfbfbf fdbfbfbfbf", "c0e080f08080f8808080fc80808080dfefbff7bfbf",
        "fe ff fefeffff", "c0af e080af f08080af f8808080af fc80808080af", "c1bf e09fbf f08fbfbf f887bfbfbf fc83bfbfbfbf",
        "c080 e08080 f0808080 f880808080 fc8080808080", "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf",
        "eda080edb080 eda080edbfbf edadbfedb080 edadbfedbfbf edae80edb080 edae80edbfbf edafbfedb080 edafbfedbfbf",
    ]  # fmt: skip
    lonely = [(0xC0, 0xDF), (0xE0, 0xEF), (0xF0, 0xF7), (0xF8, 0xFB), (0xFC, 0xFD)]
    wrong = [bytes.fromhex(one) for line in bad for one in line.split()]
    wrong += [bytes(range(0x80, 0xBF)), *(b" ".join(bytes((one,)) for one in range(low, high)) + b" " for low, high in lonely)]
    cases = [(f"good-{text!a}", text.encode(), True) for text in good]
    # 6.6: a text that ends inside a character is none.
    cases += [(f"prefix-{size}", GREEK[:size], size in (2, 5, 7, 9, 11)) for size in range(1, len(GREEK) + 1)]
    return cases + [(f"wrong-{one.hex()[:24]}", one, False) for one in wrong]


async def test_6_5_to_6_23_every_sequence_is_echoed_or_refused() -> None:
    async with serving("websocket") as (url, _):
        cases = utf8_cases()
        assert len(cases) > 120
        for name, payload, is_good in cases:
            for raw in (frame(payload), fragments(payload[:1], payload[1:])):
                socket, _, _ = await RawSocket.upgrade(url, path="/")
                socket.write(raw)
                opcode, answer = await socket.receive()
                if is_good:
                    assert (opcode, answer) == (TEXT, payload), name
                else:
                    assert (opcode, answer[:2]) == (CLOSE, INVALID_DATA.to_bytes(2, "big")), name
                socket.close()


# -- 7: closing -----------------------------------------------------------------------------------


async def test_7_1_1_a_message_and_a_close_are_both_answered(peer: Peer) -> None:
    peer.write(GOOD + frame(b"\x03\xe8", CLOSE))
    await peer.hears((TEXT, HELLO))
    await peer.is_closed(NORMAL)


@pytest.mark.parametrize(
    "behind", [frame(b"\x03\xe8", CLOSE), frame(b"", PING), GOOD, REST], ids=["7.1.2", "7.1.3", "7.1.4", "7.1.5"]
)
async def test_7_1_nothing_behind_a_close_is_answered(peer: Peer, behind: bytes) -> None:
    peer.write((FIRST if behind == REST else b"") + frame(b"\x03\xe8", CLOSE) + behind)
    await peer.is_closed(NORMAL)


async def test_7_1_6_a_big_message_and_a_close_are_both_answered(peer: Peer) -> None:
    big = b"BAsd7&jh23" * (256 * 1024 // 10)
    peer.write(frame(big) + GOOD + frame(b"\x03\xe8", CLOSE) + frame(b"", PING))
    await peer.hears((TEXT, big), (TEXT, HELLO))
    await peer.is_closed(NORMAL)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param(b"", NORMAL, id="7.3.1"),
        pytest.param(b"a", PROTOCOL_ERROR, id="7.3.2"),
        pytest.param(b"\x03\xe8", NORMAL, id="7.3.3"),
        pytest.param(b"\x03\xe8Hello World!", NORMAL, id="7.3.4"),
        pytest.param(b"\x03\xe8" + b"*" * 123, NORMAL, id="7.3.5"),
        pytest.param(b"\x03\xe8" + b"*" * 124, PROTOCOL_ERROR, id="7.3.6"),
        pytest.param(b"\x03\xe8" + SURROGATE, INVALID_DATA, id="7.5.1"),
    ],
)
async def test_7_3_and_7_5_the_payload_of_a_close_is_checked(peer: Peer, payload: bytes, code: int) -> None:
    peer.write(frame(payload, CLOSE))
    await peer.is_closed(code)


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_7_7_a_good_close_code_is_answered_with_itself(peer: Peer, code: int) -> None:
    await peer.closes(code)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
async def test_7_9_and_7_13_a_wrong_close_code_is_an_error(peer: Peer, code: int) -> None:
    peer.write(frame(code.to_bytes(2, "big"), CLOSE))
    await peer.is_closed(PROTOCOL_ERROR)


# -- 9: limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("kib", [64, 256, 1024, 4096, 8192, 16384])
async def test_9_1_and_9_2_messages_up_to_16_mib_come_back(peer: Peer, opcode: int, kib: int) -> None:
    payload = random.Random(kib).randbytes(kib * 1024) if opcode == BINARY else b"BAsd7&jh" * (kib * 128)
    peer.write(frame(payload, opcode))
    await peer.hears((opcode, payload))
    await peer.closes()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [64, 256, 1024, 4096, 16384, 65536, 1 << 18, 1 << 20, 1 << 22])
async def test_9_3_and_9_4_fragments_of_every_size_are_joined(peer: Peer, opcode: int, size: int) -> None:
    # 4 MiB as in the suite, where there are not more than 4,096 fragments; else as many as that.
    total = min(4 << 20, size * 4096)
    payload = random.Random(size).randbytes(total) if opcode == BINARY else b"*" * total
    pieces = [payload[at : at + size] for at in range(0, total, size)]
    last = len(pieces) - 1
    raw = b"".join(frame(one, CONTINUATION if at else opcode, fin=at == last) for at, one in enumerate(pieces))
    peer.write(raw)
    await peer.hears((opcode, payload))
    await peer.closes()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("chop", [64, 128, 256, 512, 1024, 2048])
async def test_9_5_and_9_6_a_message_in_chops_of_every_size_comes_back(peer: Peer, opcode: int, chop: int) -> None:
    payload = b"BAsd7&jh" * (min(1 << 20, chop * 1024) // 8)
    peer.write(frame(payload, opcode), chop)
    await peer.hears((opcode, payload))
    await peer.closes()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("size", [0, 16, 64, 256, 1024, 4096])
async def test_9_7_and_9_8_messages_come_back_one_after_the_other(peer: Peer, opcode: int, size: int) -> None:
    payload = (b"*" if opcode == TEXT else b"\xfe") * size
    raw = frame(payload, opcode)
    started = time.monotonic()
    for _ in range(200):  # a thousand in the suite, which measures; here it is the order that counts
        peer.write(raw)
        await peer.hears((opcode, payload))
    assert time.monotonic() - started < 20
    await peer.closes()


async def test_9_what_is_far_over_the_limit_is_refused_when_it_is_announced(peer: Peer) -> None:
    peer.write(bytes((0x82, 0xFF)) + (READ_TIMES * (1 << 24) + 1).to_bytes(8, "big") + b"mask")
    await peer.is_closed(1009)


# -- 10: automatic fragments ----------------------------------------------------------------------


async def test_10_1_1_fragments_of_an_odd_size_are_joined(peer: Peer) -> None:
    payload = b"*" * 65536
    peer.write(fragments(*(payload[at : at + 1300] for at in range(0, len(payload), 1300))))
    await peer.hears((TEXT, payload))
    await peer.closes()
