"""Origins of pages: what an operator may name, and which pages may connect."""

from __future__ import annotations

import pytest

from realtime import origins
from realtime.origins import Page, is_welcome, parse


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://app.example", "https://app.example"),
        ("https://app.example/", "https://app.example"),
        ("HTTPS://App.Example:443/", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("https://app.example:08443", "https://app.example:8443"),
        ("https://app.example:", "https://app.example"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[2001:DB8:0::1]:3000", "http://[2001:db8::1]:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("*", "*"),
    ],
)
def test_a_named_origin_is_taken_in_the_form_that_browsers_send(given: str, meant: str) -> None:
    assert parse([given]) == (meant,)


@pytest.mark.parametrize(
    "given",
    ["app.example", "//app.example", "https:app.example", "https://", "https:///", "https://app.example/chat", "https://a.example//",
     "https://a.example?x", "https://a.example#x", "https://me@a.example", "https://*.example", "https://a.example:0",
     "https://a.example:65536", "https://a.example:http", "https://a b", "https://a.example;https://b.example", "https://[::1",
     "https://127.1", "https://999.0.0.1", "https://-a.example", "https://a..example", "https://straße.example", "wss://a.example",
     "ws://a.example", "file:///", "null", "NULL", "data:", "'https://a.example'"],
)  # fmt: skip
def test_what_no_browser_sends_cannot_be_named(given: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse([given])


@pytest.mark.parametrize("given", [["*", "null"], ["*", "https://app.example"], ["https://app.example", "*"]])
def test_every_origin_stands_alone(given: list[str]) -> None:
    with pytest.raises(ValueError, match="give it alone"):
        parse(given)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://chat.example", "chat.example"),
        ("http://chat.example", "chat.example:80"),
        ("https://chat.example", "chat.example:443"),
        ("https://chat.example:8443", "CHAT.example:8443"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_a_page_of_the_same_host_is_our_own(origin: str, host: str) -> None:
    assert is_welcome(Page(origin, host), ())


@pytest.mark.parametrize(
    ("origin", "host"),
    [("null", ""), ("", ""), ("http://", ""), ("null", "null"), ("ftp://chat.example", "chat.example"),
     ("capacitor://localhost", "localhost"), ("chrome-extension://chat.example", "chat.example"),
     ("chat.example", "chat.example"),
     ("https://chat.example:8443", "chat.example"), ("https://chat.example:80", "chat.example"),
     ("https://chat.example.evil", "chat.example"), ("https://chat.example@evil.example", "chat.example"),
     ("https://chat.example/", "chat.example/"), ("https://a, https://b", "b")],
)  # fmt: skip
def test_what_only_looks_like_our_own_is_not(origin: str, host: str) -> None:
    assert not is_welcome(Page(origin, host), ())
    assert not is_welcome(Page(origin, host), ("https://app.example",))


def test_what_the_browser_says_of_the_page_goes_before_the_host() -> None:
    """A proxy may put another Host in; what nobody but the browser can set is right."""
    assert is_welcome(Page("https://chat.example", "127.0.0.1:8000", "same-origin"), ())
    for site in ("same-site", "cross-site", "none", ""):
        assert not is_welcome(Page("http://chat.example", "chat.example", site), ())
    assert not is_welcome(Page("null", "chat.example", "same-origin"), ())
    assert is_welcome(Page("https://app.example", "chat.example", "cross-site"), ("https://app.example",))


def test_a_program_that_names_no_page_is_not_asked() -> None:
    assert is_welcome(Page(None, "chat.example"), ())


@pytest.mark.parametrize("requested", ["a\r\nSet-Cookie: x", "a,,b", "a;b", "ä", "x" * 5000, "", None])
def test_a_list_of_headers_that_is_none_is_not_repeated(requested: str | None) -> None:
    found = origins.preflight_headers("https://a.example", ("https://a.example",), requested)
    assert found["Access-Control-Allow-Headers"] == "Authorization, Content-Type"


def test_what_is_logged_of_a_page_is_an_origin_or_nothing() -> None:
    assert origins.shown("https://chat.example:8443") == "https://chat.example:8443"
    assert [origins.shown(text) for text in ("a\nb", "<b>", "a b")] == ["(not shown)"] * 3
    assert len(origins.shown("a" * 5000)) == 200
