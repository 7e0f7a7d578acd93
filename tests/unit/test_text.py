"""What names, lines, bodies and passwords may hold."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import text

REFUSED = "not allowed|can be seen|cannot be seen|begins with"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
NAMES = {
    "plain": "Ada Lovelace",
    "punctuation": "Grace O\u2019Malley-Jones, Jr.",
    "vietnamese": "Nguy\u1ec5n",
    "family emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "heart": "\u2764\ufe0f",
    "keycap": "1\ufe0f\u20e3",
    "skin tone": "\U0001f469\U0001f3fd\u200d\U0001f4bb",
    "flag": "\U0001f1e9\U0001f1ea",
    "flag of tags": ENGLAND,
    "rainbow flag": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "emoji newer than this Python": "\U0001fae9",
    "persian zwnj": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "hindi zwj": "\u0915\u094d\u200d\u0937",
    "sinhala zwj": "\u0dc1\u0dca\u200d\u0dbb\u0dd3",
    "thai": "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e19\u0e49\u0e33",
    "hebrew with points": "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "arabic with points": "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f",
    "tibetan": "\u0f62\u0f92\u0fb1",
    "burmese": "\u1000\u103b\u103d\u1014\u103a\u102f\u1015\u103a",
    "ideographic variation": "\u845b\U000e0100",
    "korean": "\ud55c\uae00",
}
HIDDEN = {
    "zero-width spaces": "\u200b" * 15,
    "word joiner": "\u2060",
    "braille blank": "\u2800",
    "hangul filler": "\u3164",
    "half-width filler": "\uffa0",
    "soft hyphen": "\u00ad",
    "variation selector": "\ufe0f",
    "tags": "\U000e0061\U000e0062",
    "lone combining": "\u0301",
    "no-break spaces": "\u00a0\u3000",
    "blanks": "   ",
    "joiners": "\u200d\u200c",
    "byte order mark": "\ufeff",
    "right-to-left mark": "\u200f",
    "object replacement": "\ufffc",
    "blank note head": "\U0001d159",
    "ignorable and not assigned": "\u2065\ufff0\U000e0fff",
    "noncharacters": "\uffff\ufdd0",
}
DECEIVING = {
    "bidi override": "\u202enimda",
    "bidi isolate": "anna\u2066",
    "NEL": "a\u0085b",
    "CSI": "\u009b31mred",
    "NUL behind": "x\x00",
    "NUL before": "\x00x",
    "escape": "\x1b[31mx",
    "DEL": "x\x7f",
    "line separator": "a\u2028b",
    "zero-width inside": "an\u200bna",
    "zero-width joiner in Latin": "an\u200dna",
    "trailing non-joiner": "anna\u200c",
    "filler behind": "anna\u3164",
    "blank note head behind": "anna\U0001d159",
    "reserved behind": "anna\U000e0fff",
    "braille blank behind": "anna\u2800",
    "invisible tags behind": "anna\U000e0061",
    "selector behind a letter": "a\ufe0f",
    "two joiners": "\U0001f469\u200d\u200d\U0001f467",
    "private use": "\ue000",
    "noncharacter": "a\ufffe",
    "a mark first": "\u0301anna",
    "painting over": "a" + "\u0334" * 12,
    "half a surrogate pair": "a\ud800",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_what_people_are_called_stays_possible_and_as_it_was_typed(name: str) -> None:
    assert text.name(name) == unicodedata.normalize("NFC", name)
    assert text.shows_something(name)
    assert text.body(name) == text.line(unicodedata.normalize("NFC", name)) or text.body(name) == name


@pytest.mark.parametrize("name", [*HIDDEN.values(), *DECEIVING.values()], ids=[*HIDDEN, *DECEIVING])
def test_a_name_that_hides_or_deceives_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=REFUSED):
        text.name(name)


@pytest.mark.parametrize("nothing", [*HIDDEN.values(), "", "\n\t\n", "\r\n", "\u2028"])
def test_a_text_that_shows_nothing_is_no_message(nothing: str) -> None:
    assert not text.shows_something(nothing)
    with pytest.raises(ValueError, match=REFUSED):
        text.body(nothing)


@pytest.mark.parametrize("code", [one for one in (*range(0x20), *range(0x7F, 0xA0)) if chr(one) not in "\t\n\r"])
def test_of_control_characters_a_body_holds_tab_and_line_ends_alone_and_everything_else_none(code: int) -> None:
    for rule in (text.body, text.line, text.name, text.plain):
        for one in (f"x{chr(code)}", f"{chr(code)}x", f"\u00e9{chr(code)}"):
            with pytest.raises(ValueError, match=REFUSED):
                rule(one)
    for end in "\t\n\r":
        assert text.body(f"a{end}b") == f"a{end}b"
        with pytest.raises(ValueError, match=REFUSED):
            text.plain(f"a{end}b")


@pytest.mark.parametrize("between", ["\u200d", "\u200c", "\u034f", "\ufe0f", "\U000e0061"])
@pytest.mark.parametrize("base", ["a", "\u0628"])
def test_what_cannot_be_seen_between_marks_does_not_make_them_fewer(between: str, base: str) -> None:
    painted = base + ("\u0334" * 7 + between) * 40
    for rule in (text.body, text.line, text.name):
        with pytest.raises(ValueError, match=REFUSED):
            rule(painted)


def test_a_message_may_hold_what_a_font_of_ones_own_shows() -> None:
    for shown in ("\uf8ff", "\U000f0000"):
        assert text.body(shown) == shown


def test_blanks_of_a_name_are_trimmed_and_joined() -> None:
    assert text.name("  Anna \u00a0\u3000 Bell\u2003") == "Anna Bell"
    assert text.name("Zoe\u0308") == "Zo\u00eb"


def test_a_status_may_be_empty_and_may_quote_another_direction_but_not_turn_what_follows() -> None:
    assert text.line("") == ""
    assert text.line("see \u2067\u05d0\u05d1\u2069 there") == "see \u2067\u05d0\u05d1\u2069 there"
    for turned in ("\u202enimda", "open \u2067", "closed \u2069 twice", "\u200b"):
        with pytest.raises(ValueError, match=REFUSED):
            text.line(turned)


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from("\u0301\u0334\u20dd\u0e49"))
def test_marks_are_counted_wherever_they_stand(before: int, marks: int, mark: str) -> None:
    body = "x" * before + "\u00e9" + mark * marks + "x" * before
    if marks > text.MAX_MARKS:
        with pytest.raises(ValueError, match=REFUSED):
            text.body(body)
    else:
        assert text.body(body) == body


@given(st.text(max_size=40))
def test_what_a_rule_gives_it_takes_again_and_leaves(given_text: str) -> None:
    for rule in (text.name, text.line, text.body):
        try:
            once = rule(given_text)
        except ValueError:
            continue
        assert rule(once) == once
        assert "\x00" not in once
        assert once == "" or text.shows_something(once)


@given(st.text(max_size=40))
def test_a_password_is_prepared_once_and_for_all(password: str) -> None:
    prepared = text.opaque_string(password)
    assert text.opaque_string(prepared) == prepared
    assert text.opaque_string(unicodedata.normalize("NFD", password)) == prepared
