"""Socket.IO packets alone: every type, namespaces, ids, attachments, and what is no packet."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.gateway import socketio
from realtime.gateway.socketio import (
    ACK,
    BINARY_ACK,
    BINARY_EVENT,
    CONNECT,
    CONNECT_ERROR,
    DISCONNECT,
    EVENT,
    MAX_ATTACHMENTS,
    ROOT,
    InvalidPacket,
    Packet,
    count_arguments,
    decode,
    event,
    event_frame,
    event_of,
)
from realtime.gateway.websocket import BINARY, TEXT, frame, split

ALMOST_A_PACKET = rb"[0-6](\d{0,5}-)?(/[a-z]{0,5},?)?\d{0,25}[\[\]\{\}\",a-z0-9\\\xff]{0,30}"
json_value = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("message", "packet"),
    [
        (b"0", Packet(CONNECT, ROOT, None, 0, b"")),
        (b'0{"token":"a,b"}', Packet(CONNECT, ROOT, None, 0, b'{"token":"a,b"}')),
        (b'0/admin,{"token":"t"}', Packet(CONNECT, b"/admin", None, 0, b'{"token":"t"}')),
        (b"0/admin,", Packet(CONNECT, b"/admin", None, 0, b"")),
        (b"0/admin", Packet(CONNECT, b"/admin", None, 0, b"")),
        (b"1", Packet(DISCONNECT, ROOT, None, 0, b"")),
        (b"1/admin,", Packet(DISCONNECT, b"/admin", None, 0, b"")),
        (b'2["hello",1]', Packet(EVENT, ROOT, None, 0, b'["hello",1]')),
        (b'212["hello"]', Packet(EVENT, ROOT, 12, 0, b'["hello"]')),
        (b'20["hello"]', Packet(EVENT, ROOT, 0, 0, b'["hello"]')),
        (b'2/admin,456["project:delete",123]', Packet(EVENT, b"/admin", 456, 0, b'["project:delete",123]')),
        (b'2["a","/b,c"]', Packet(EVENT, ROOT, None, 0, b'["a","/b,c"]')),
        (b"3/admin,456[]", Packet(ACK, b"/admin", 456, 0, b"[]")),
        (b'4{"message":"Not authorized"}', Packet(CONNECT_ERROR, ROOT, None, 0, b'{"message":"Not authorized"}')),
        (
            b'51-["hello",{"_placeholder":true,"num":0}]',
            Packet(BINARY_EVENT, ROOT, None, 1, b'["hello",{"_placeholder":true,"num":0}]'),
        ),
        (b'52-/admin,7["hello"]', Packet(BINARY_EVENT, b"/admin", 7, 2, b'["hello"]')),
        (b'61-/admin,456[{"num":0}]', Packet(BINARY_ACK, b"/admin", 456, 1, b'[{"num":0}]')),
    ],
)
def test_every_type_is_decoded(message: bytes, packet: Packet) -> None:
    assert decode(message) == packet


@pytest.mark.parametrize("message", [b"", b"7", b"9[]", b"x", b"-1", b"/", b' 2["a"]', b'["a"]', "²".encode(), b"\x00", b"\xff"])
def test_a_message_without_a_packet_type_is_refused(message: bytes) -> None:
    with pytest.raises(InvalidPacket):
        decode(message)


@pytest.mark.parametrize("kind", [BINARY_EVENT, BINARY_ACK])
@pytest.mark.parametrize("count", [0, MAX_ATTACHMENTS + 1, 9999])
def test_an_announcement_of_no_attachment_or_too_many_is_refused(kind: int, count: int) -> None:
    with pytest.raises(InvalidPacket):
        decode(b'%d%d-["a"]' % (kind, count))


@pytest.mark.parametrize("kind", [BINARY_EVENT, BINARY_ACK])
def test_attachments_up_to_the_limit_are_taken_and_must_be_announced(kind: int) -> None:
    for count in range(1, MAX_ATTACHMENTS + 1):
        assert decode(b'%d%d-["a"]' % (kind, count)).attachments == count
    for message in (b'%d["a"]', b'%d-["a"]', b'%d/x,["a"]', b'%d12["a"]', b'%d99999-["a"]', b"%d"):
        with pytest.raises(InvalidPacket):
            decode(message % kind)


@pytest.mark.parametrize("kind", [CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR])
def test_a_packet_without_attachments_must_not_announce_any(kind: int) -> None:
    with pytest.raises(InvalidPacket):
        decode(b'%d1-["a"]' % kind)


def test_an_id_has_at_most_nineteen_digits_so_that_no_number_grows_without_end() -> None:
    assert decode(b"2" + b"9" * 19 + b'["a"]') == Packet(EVENT, ROOT, 10**19 - 1, 0, b'["a"]')
    longer = decode(b"2" + b"9" * 4000 + b'["a"]')
    with pytest.raises(InvalidPacket):
        event(longer.data)


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from([EVENT, ACK, CONNECT, CONNECT_ERROR, DISCONNECT]),
    st.none() | st.text("abc/_-é", max_size=20),
    st.none() | st.integers(0, 10**19 - 1),
    st.none() | st.lists(json_value, max_size=3),
)
def test_what_a_client_encodes_is_decoded(kind: int, space: str | None, packet_id: int | None, data: list[object] | None) -> None:
    namespace = ROOT if space is None else b"/" + space.encode()
    raw = b"" if data is None else msgspec.json.encode(data)
    head = b"" if space is None else namespace + b","
    message = b"%d%b%b%b" % (kind, head, b"" if packet_id is None else b"%d" % packet_id, raw)
    assert decode(message) == Packet(kind, namespace, packet_id, 0, raw)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60) | st.from_regex(ALMOST_A_PACKET, fullmatch=True))
def test_garbage_is_refused_or_decoded_and_never_anything_else(message: bytes) -> None:
    try:
        packet = decode(message)
        name, arguments = event(packet.data)
    except InvalidPacket:
        return
    assert packet.kind in range(7)
    assert isinstance(name, str)
    assert isinstance(arguments, bytes)


# -- events -----------------------------------------------------------------------------------------


def test_an_event_is_its_name_and_its_arguments_as_they_came() -> None:
    name, arguments = event(b'["message.send", {"room": "r" } ,[1, 2]]')
    assert name == "message.send"
    assert arguments == b' {"room": "r" } ,[1, 2]'
    assert count_arguments(arguments) == 2
    assert event(b'["caf\\u00e9"]') == ("café", b"")
    assert event(b'[ "a" , 1 ,2 ]') == ("a", b"1,2")


@pytest.mark.parametrize("rubbish", [b"tru", b"{", b'"\\ud800"', b"[" * 100_000])
def test_rubbish_in_the_arguments_is_left_to_whoever_reads_them(rubbish: bytes) -> None:
    assert event(b'["a",%b]' % rubbish) == ("a", rubbish)
    assert count_arguments(rubbish) == 0


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'"a"', b"null", b"[1]", b"[null]", b"[{}]", b'[["a"]]', b'["a"', b'["a",]', b'["a"]x', b'["a" 1]',
     b'["\xff"]', b'["\\ud800"]', b'["\\u0061",tru]', b"[" * 100_000, b'["a",' + b"[" * 100_000],
)  # fmt: skip
def test_what_is_not_an_array_that_begins_with_a_name_is_no_event(data: bytes) -> None:
    with pytest.raises(InvalidPacket):
        event(data)


@pytest.mark.parametrize("name", ["connect", "disconnect", "connect_error", "newListener", "", "__proto__", "message.send"])
def test_a_reserved_name_is_a_name_like_any_other_here_and_what_it_means_is_decided_behind(name: str) -> None:
    assert event(msgspec.json.encode([name, {}]))[0] == name


# -- what is sent -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.from_regex(r"[a-z]{1,10}(\.[a-z_]{1,10})?", fullmatch=True), json_value)
def test_an_event_frame_comes_apart_again_and_is_an_event_for_clients(name: str, value: object) -> None:
    payload = msgspec.json.encode(value)
    encoded = event_frame(name, payload)
    assert event_of(encoded) == (name, payload)
    [(opcode, message)] = split(encoded)
    assert (opcode, message[:1]) == (TEXT, b"4")
    packet = decode(message[1:])
    assert (packet.kind, packet.namespace, packet.id) == (EVENT, ROOT, None)
    assert msgspec.json.decode(packet.data) == [name, value]


@pytest.mark.parametrize(
    "other",
    [b"", frame(b"2"), frame(b"41"), frame(b'43[{"ok":true}]'), frame(b'42["a"]'), frame(b'42["a'), frame(b'42["a",1'),
     event_frame("a", b"1") + event_frame("b", b"2"), frame(b"")],
)  # fmt: skip
def test_what_is_not_one_event_with_one_argument_is_told_by_an_error(other: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        event_of(other)


def test_an_ack_has_the_id_of_its_request_and_one_argument() -> None:
    assert split(socketio.ack_frame(0, b'{"ok":true}')) == [(TEXT, b'430[{"ok":true}]')]
    [(_, message)] = split(socketio.ack_frame(10**19 - 1, b"null"))
    assert decode(message[1:]) == Packet(ACK, ROOT, 10**19 - 1, 0, b"[null]")


def test_the_frames_of_a_connection_are_as_the_protocol_document_shows_them() -> None:
    assert split(socketio.connect_frame("s1-_")) == [(TEXT, b'40{"sid":"s1-_"}')]
    assert split(socketio.disconnect_frame()) == [(TEXT, b"41")]
    refused = socketio.connect_error_frame(ROOT, 'No "way"')
    assert split(refused) == [(TEXT, b'44{"message":"No \\"way\\""}')]
    elsewhere = socketio.connect_error_frame(b"/admin", "Invalid namespace", {"code": "x"})
    assert split(elsewhere) == [(TEXT, b'44/admin,{"message":"Invalid namespace","data":{"code":"x"}}')]


def test_a_binary_frame_is_no_event() -> None:
    with pytest.raises(ValueError, match=r".+"):
        event_of(frame(b"\x00\x01", BINARY))


# -- the short way ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(
    st.one_of(
        st.from_regex(rb"2[0-9]{0,3}(/[a-z]{1,3},)?\[\"[ -~]{0,6}\",?.{0,12}\]?", fullmatch=True),
        st.binary(max_size=40).map(lambda tail: b'27["message.send",' + tail),
    )
)
def test_the_short_way_for_plain_events_finds_what_the_long_way_finds(message: bytes) -> None:
    plain = socketio.plain_event(message)
    if plain is not None:
        packet = socketio.decode(message)
        assert (packet.kind, packet.namespace, packet.attachments) == (socketio.EVENT, socketio.ROOT, 0)
        assert plain == (*socketio.event(packet.data), packet.id)


def test_the_short_way_is_taken_by_what_clients_send() -> None:
    assert socketio.plain_event(b'212["message.send",{"body":"hi"}]') == ("message.send", b'{"body":"hi"}', 12)
    assert socketio.plain_event(b'2["signal",{"kind":"typing"}]') == ("signal", b'{"kind":"typing"}', None)
    assert socketio.plain_event(b'2/other,["signal",{}]') is None
    assert socketio.plain_event(b'2["signal"]') is None
