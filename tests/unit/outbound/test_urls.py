"""Which URLs of others are requested, as far as can be told without looking a name up."""

from __future__ import annotations

import ipaddress

import pytest
from yarl import URL

from realtime.outbound.refusals import Reason, Refused
from realtime.outbound.urls import MAX_CHARS, Rules, parse, redirected

BOTH = frozenset({"http", "https"})
RULES = Rules()
REFUSED = [
    ("", Reason.SCHEME),
    ("example.com", Reason.SCHEME),
    ("//example.com/", Reason.SCHEME),
    ("/path", Reason.SCHEME),
    ("file:///etc/passwd", Reason.SCHEME),
    ("ftp://example.com/", Reason.SCHEME),
    ("gopher://127.0.0.1:6379/_FLUSHALL", Reason.SCHEME),
    ("javascript:alert(1)", Reason.SCHEME),
    ("data:text/html,x", Reason.SCHEME),
    ("unix:///run/postgresql/.s.PGSQL.5432", Reason.SCHEME),
    ("http://", Reason.URL),
    ("http:///etc/passwd", Reason.URL),
    ("http:example.com", Reason.URL),
    ("http://me:secret@example.com/", Reason.URL),
    ("http://me@example.com/", Reason.URL),
    ("http://example.com@127.0.0.1/", Reason.URL),
    ("http://example.com\\@127.0.0.1/", Reason.URL),
    ("http:\\\\127.0.0.1\\", Reason.URL),
    ("http://exa mple.com/", Reason.URL),
    ("http://exa\tmple.com/", Reason.URL),
    ("http://example.com/\r\nHost: other", Reason.URL),
    (" http://example.com/", Reason.URL),
    ("http://example.com/\x00", Reason.URL),
    ("http://example.com/\ud800", Reason.URL),
    ("http://[::1", Reason.URL),
    ("http://[fe80::1%25eth0]/", Reason.ADDRESS),
    ("http://[fe80::1%eth0]/", Reason.ADDRESS),
    ("http://%31%32%37.0.0.1/", Reason.ADDRESS),
    ("http://a..b/", Reason.URL),
    ("http://.example.com/", Reason.URL),
    ("http://-a.example/", Reason.URL),
    ("http://xn--a/", Reason.URL),
    ("http://" + "a" * 64 + ".example/", Reason.URL),
    ("http://" + "a." * 127 + "example/", Reason.URL),
    ("http://example.com/" + "a" * MAX_CHARS, Reason.URL),
    ("http://example.com/" + "ü" * (MAX_CHARS // 2), Reason.URL),
    ("http://example.com:99999/", Reason.URL),
    ("http://example.com:80a/", Reason.URL),
    ("http://example.com:0/", Reason.PORT),
    ("http://example.com:22/", Reason.PORT),
    ("http://example.com:6379/", Reason.PORT),
    ("https://example.com:8443/", Reason.PORT),
    ("http://127.0.0.1/", Reason.ADDRESS),
    ("http://127.0.0.1./", Reason.ADDRESS),
    ("http://127.1/", Reason.ADDRESS),
    ("http://0/", Reason.ADDRESS),
    ("http://2130706433/", Reason.ADDRESS),
    ("http://0x7f000001/", Reason.ADDRESS),
    ("http://0x7f.1/", Reason.ADDRESS),
    ("http://0177.0.0.1/", Reason.ADDRESS),
    ("http://017700000001/", Reason.ADDRESS),
    ("http://①②⑦.0.0.1/", Reason.ADDRESS),
    ("http://127。0。0。1/", Reason.ADDRESS),
    ("http://1.2.3/", Reason.ADDRESS),
    ("http://256.1.1.1/", Reason.ADDRESS),
    ("http://1.1.1.1.1/", Reason.ADDRESS),
    ("http://8.8.8.010/", Reason.ADDRESS),
    ("http://[::1]/", Reason.ADDRESS),
    ("http://[::]/", Reason.ADDRESS),
    ("http://[0:0:0:0:0:ffff:7f00:1]/", Reason.ADDRESS),
    ("http://[::ffff:169.254.169.254]/", Reason.ADDRESS),
    ("http://[64:ff9b::7f00:1]/", Reason.ADDRESS),
    ("http://[2002:7f00:1::]/", Reason.ADDRESS),
    ("http://169.254.169.254/latest/meta-data/", Reason.ADDRESS),
]


def reason(text: str, rules: Rules = RULES) -> Reason | None:
    try:
        parse(text, rules)
    except Refused as refused:
        return refused.reason
    return None


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=lambda value: ascii(value)[:60])
def test_a_url_that_may_not_be_requested_is_refused_with_its_reason(text: str, expected: Reason) -> None:
    assert reason(text) is expected


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("https://example.com", "https://example.com"),
        ("HTTP://EXAMPLE.COM:80/a", "http://example.com/a"),
        ("https://example.com:443/?q=1#part", "https://example.com/?q=1#part"),
        ("http://@example.com/", "http://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://ß.example/ü", "https://xn--zca.example/%C3%BC"),
        ("https://a_b.example./", "https://a_b.example./"),
        ("https://8.8.8.8/", "https://8.8.8.8/"),
        ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
        ("https://localhost/", "https://localhost/"),  # where a name leads is judged when it is dialled
    ],
)
def test_other_urls_are_sent_as_they_were_judged(text: str, sent: str) -> None:
    assert str(parse(text, RULES)) == sent


def test_ports_and_networks_of_the_operator_are_allowed() -> None:
    rules = Rules((ipaddress.ip_network("10.0.0.0/8"),), frozenset({443, 8443}))
    assert reason("https://10.1.2.3:8443/", rules) is None
    assert reason("https://192.168.0.1:8443/", rules) is Reason.ADDRESS
    assert reason("http://10.1.2.3/", rules) is Reason.PORT


def test_only_https_is_allowed_where_the_caller_says_so() -> None:
    with pytest.raises(Refused) as refused:
        parse("http://example.com/", RULES, frozenset({"https"}))
    assert refused.value.reason is Reason.SCHEME


def test_a_refusal_holds_nothing_of_the_url() -> None:
    for text in ("http://me:s3cret@example.com/", "http://example.com:22/s3cret", "http://10.0.0.1/s3cret"):
        with pytest.raises(Refused) as refused:
            parse(text, RULES)
        assert "s3cret" not in repr(refused.value)
        assert "example" not in str(refused.value)
        assert refused.value.__cause__ is None


# -- redirects ------------------------------------------------------------------------------------

NOW = URL("https://example.com/a/b?x=1")


@pytest.mark.parametrize(
    ("location", "to"),
    [
        ("/c", "https://example.com/c"),
        ("../c", "https://example.com/c"),
        ("?y=2", "https://example.com/a/b?y=2"),
        ("//other.example/c", "https://other.example/c"),
        ("https://other.example/", "https://other.example/"),
    ],
)
def test_a_redirect_is_read_relative_to_the_url(location: str, to: str) -> None:
    assert str(redirected(NOW, location, RULES, BOTH)) == to


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://example.com/", Reason.DOWNGRADE),
        ("http://127.0.0.1/", Reason.ADDRESS),
        ("//169.254.169.254/latest", Reason.ADDRESS),
        ("//[::ffff:10.0.0.1]/", Reason.ADDRESS),
        ("https://example.com:22/", Reason.PORT),
        ("file:///etc/passwd", Reason.SCHEME),
        ("ftp://example.com/", Reason.SCHEME),
        ("https://me:pw@example.com/", Reason.URL),
        ("https://exa\nmple.com/", Reason.URL),
        ("//[::1", Reason.URL),
        ("\\\\127.0.0.1/", Reason.URL),
    ],
)
def test_a_redirect_is_judged_like_any_url(location: str, expected: Reason) -> None:
    with pytest.raises(Refused) as refused:
        redirected(NOW, location, RULES, BOTH)
    assert refused.value.reason is expected
