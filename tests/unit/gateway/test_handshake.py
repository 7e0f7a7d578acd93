"""The one form of an opening handshake that is read here, and everything else, which is left to the HTTP server."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.gateway.handshake import opening, switching
from realtime.origins import Page

PATH = "/socket.io/"
TARGET = "/socket.io/?EIO=4&transport=websocket"
HEADERS = {
    "Host": "chat.example.org",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"  # RFC 6455 §1.3


def request(target: str = TARGET, *more: str, first: str = "GET {} HTTP/1.1", **changed: str | None) -> bytes:
    fields = HEADERS | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [first.format(target), *(f"{name}: {value}" for name, value in fields.items() if value is not None), *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def test_a_handshake_is_answered_as_the_rfc_says() -> None:
    found = opening(request(), (PATH,))
    assert found is not None
    assert found.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
    assert found.head.endswith(ACCEPT)
    assert found[1:] == (Page(None, "chat.example.org"), None)


def test_it_says_what_has_to_be_judged() -> None:
    found = opening(
        request(Origin="https://app.example.org", Sec_Fetch_Site="cross-site", X_Forwarded_For="203.0.113.7, 10.0.0.1"), (PATH,)
    )
    assert found is not None
    assert found[1:] == (Page("https://app.example.org", "chat.example.org", "cross-site"), "203.0.113.7, 10.0.0.1")


@pytest.mark.parametrize(
    "data",
    {
        "a browser": request(
            "/socket.io/?EIO=4&transport=websocket&t=Pq3x_z-1",
            "Pragma: no-cache",
            "Accept-Encoding: gzip, deflate, br",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            "Cookie: a=b; c=d",
            Connection="keep-alive, Upgrade",
        ),
        "names and tokens in other cases": request().replace(b"Upgrade", b"UPGRADE").replace(b"Host", b"host"),
        "no space before the values": request().replace(b": ", b":"),
        "fields of its own": request(TARGET + "&room=7&flag"),
    }.items(),
    ids=lambda case: case[0],
)
def test_what_clients_write_is_read(data: tuple[str, bytes]) -> None:
    assert opening(data[1], (PATH,)) is not None


@pytest.mark.parametrize(
    "data",
    {
        "nothing": b"",
        "half a head": request()[:-2],
        "a head and more": request() + b"\x81\x80abcd",
        "two heads": request() * 2,
        "another path": request("/socket.io?EIO=4&transport=websocket"),
        "a path of which it is the beginning": request("/socket.io/more?EIO=4&transport=websocket"),
        "an absolute target": request("http://chat.example.org" + TARGET),
        "no query": request("/socket.io/"),
        "another transport": request("/socket.io/?EIO=4&transport=polling"),
        "no transport": request("/socket.io/?EIO=4"),
        "another version": request("/socket.io/?EIO=3&transport=websocket"),
        "a session that exists": request(TARGET + "&sid=abc"),
        "a session of no name": request(TARGET + "&sid="),
        "a field twice": request(TARGET + "&EIO=4"),
        "something to decode": request("/socket.io/?EIO=4&transport=web%73ocket"),
        "a plus": request(TARGET + "&q=a+b"),
        "another method": request(first="POST {} HTTP/1.1"),
        "HTTP 1.0": request(first="GET {} HTTP/1.0"),
        "HTTP 2": request(first="GET {} HTTP/2.0"),
        "two spaces": request(first="GET  {} HTTP/1.1"),
        "no host": request(Host=None),
        "no upgrade": request(Upgrade=None),
        "an upgrade to something else": request(Upgrade="h2c"),
        "a connection that does not say so": request(Connection="keep-alive"),
        "a word that contains upgrade": request(Connection="upgraded"),
        "no version": request(Sec_WebSocket_Version=None),
        "another WebSocket version": request(Sec_WebSocket_Version="8"),
        "no key": request(Sec_WebSocket_Key=None),
        "a short key": request(Sec_WebSocket_Key="abcd"),
        "a key that is not base64": request(Sec_WebSocket_Key="!" * 24),
        "a host twice": request(TARGET, "host: evil.example.org"),
        "proxies in two headers": request(TARGET, "X-Forwarded-For: 1.2.3.4", "X-Forwarded-For: 5.6.7.8"),
        "a body": request(TARGET, "Content-Length: 0"),
        "a body in chunks": request(TARGET, "Transfer-Encoding: chunked"),
        "a wish for 100": request(TARGET, "Expect: 100-continue"),
        "a folded line": request(TARGET, "X-Long: a", " b"),
        "a space before the colon": request(TARGET, "X-Odd : a"),
        "a line without a colon": request(TARGET, "X-Odd"),
        "a NUL": request(TARGET, "X-Odd: a\0b"),
        "a bare line feed": request().replace(b"\r\nUpgrade", b"\nUpgrade"),
        "a bare carriage return": request(TARGET, "X-Odd: a\rb"),
        "letters that are not ASCII": request(TARGET, "X-Odd: \u00e9"),
        "a head that is too long": request(TARGET, "X-Long: " + "a" * 32768),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    }.items(),
    ids=lambda case: case[0],
)
def test_everything_else_is_left_to_the_http_server(data: tuple[str, bytes]) -> None:
    assert opening(data[1], (PATH,)) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.tuples(st.integers(0, 400), st.binary(max_size=3)).map(
    lambda change: request()[: change[0] % len(request())] + change[1] + request()[change[0] % len(request()) :]
))  # fmt: skip
def test_whatever_comes_breaks_nothing(data: bytes) -> None:
    found = opening(data, (PATH,))
    assert found is None or found.head.endswith(b"\r\n\r\n")


def test_only_a_get_switches() -> None:
    headers = {name.lower(): value for name, value in HEADERS.items()}
    assert switching("GET", headers) is not None
    assert switching("POST", headers) is None
