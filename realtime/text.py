"""What a text may hold: names, lines, bodies, passwords. Pure.

Names follow the idea of PRECIS (RFC 8264, 8266): they are prepared, and what cannot be seen or turns the text around it is
refused. Beyond PRECIS stays possible what people write names with: emoji with joiners, and the joiners of Persian and Indic
scripts. Normalisation is NFC: of compatibility characters what was typed is kept.
"""

from __future__ import annotations

import re
import unicodedata

MAX_MARKS = 8
"""Combining marks in a row. Tibetan and Burmese syllables have up to seven; a hundred paint over the lines around."""

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_JOINING_FROM = "\u0600"  # Arabic, Syriac, Indic and later blocks have joiners; Latin, Greek, Cyrillic and Hebrew do not


def _class(categories: str) -> str:
    """Write the characters of some categories as what stands between the brackets of a regular expression."""
    wanted = set(categories.split())
    parts: list[str] = []
    first = last = -2
    for code in [*(one for one in _CODES if unicodedata.category(chr(one)) in wanted), -2]:
        if code != last + 1:
            if first >= 0:
                parts.append(f"\\U{first:08x}-\\U{last:08x}")
            first = code
        last = code
    return "".join(parts)


_CODES = (*range(0x323B0), *range(0xE0000, 0xE0200))  # where something is assigned, but for the planes of private use
# Letters, symbols and marks by category, and nothing to see: blanks of scripts, of Braille and of music, U+FFFC in browsers.
_FILLERS = "\u2800\u115f\u1160\u3164\uffa0\u17b4\u17b5\u034f\ufffc\U0001d159"
_RESERVED = (
    "\u2065\ufff0-\ufff8\U000e0000\U000e0002-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"  # ignorable, unassigned
)
_VARIATION = "\ufe00-\ufe0f\U000e0100-\U000e01ef\u180b-\u180d\u180f"
_PREPENDED = "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # format characters that can be seen
_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17))
_CONTROLS = "\x00-\x1f\x7f-\x9f\ud800-\udfff"
_MARKS = _class("Mn Mc Me")
_FORMATS = _class("Cf Zl Zp")
_PRIVATE = "\ue000-\uf8ff\U000f0000-\U0010ffff"  # a box, or what a font of one's own shows
_SPACES = _class("Zs")

# Other unassigned code points may be letters or emoji of a Unicode newer than Python's, so they count as visible.
_visible = re.compile(
    f"[{_PREPENDED}]|[^{_CONTROLS}{_FILLERS}{_RESERVED}{_NONCHARACTERS}{_VARIATION}{_MARKS}{_FORMATS}{_SPACES}]"
).search
_control = re.compile(f"[{_CONTROLS}]").search
_control_of_text = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]").search  # tab and line ends are none
_EXTENDERS = "\u200c\u200d\U000e0020-\U000e007f"  # cannot be seen and end no cluster of letters and marks (UAX 29, GB9)
_run_of_marks = re.compile(f"[{_MARKS}{_EXTENDERS}]{{{MAX_MARKS + 1}}}").search
_has_no_mark = frozenset(filter(re.compile(f"[{_MARKS}{_EXTENDERS}]").match, map(chr, _CODES))).isdisjoint
_hidden = re.compile(f"(?![{_PREPENDED}])[{_FORMATS}{_PRIVATE}{_FILLERS}{_RESERVED}{_NONCHARACTERS}{_VARIATION}]")
_flag = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f")  # England's, Scotland's … (UTS 51, ED-14a)
_blanks = re.compile(f"[{_SPACES}]+")


def shows_something(text: str) -> bool:
    """Tell whether a reader sees anything: not blanks, controls, fillers, or marks without a letter alone."""
    return _visible(text) is not None


def plain(text: str) -> str:
    """Return a text without control characters as it is.

    Raises:
        ValueError: it holds a control character (C0, DEL, C1) or half a surrogate pair.
    """
    if not text.isprintable() and _control(text):
        raise ValueError("A control character is not allowed")
    return text


def any_text(text: str) -> str:
    """Return a text as it is: a password, an id or a token, which is judged elsewhere and never stored as it came."""
    return text


def body(text: str) -> str:
    """Return the body of a message as it is.

    Raises:
        ValueError: a control character but tab and line ends, nothing to see, or more than `MAX_MARKS` marks in a row.
    """
    if text.isascii():
        if text.isspace() or not text:
            raise ValueError(_NOTHING)
    elif _zalgo(text):
        raise ValueError(_ZALGO)
    elif not shows_something(text):
        raise ValueError(_NOTHING)
    if not text.isprintable() and _control_of_text(text):
        raise ValueError("A control character other than tab and line ends is not allowed")
    return text


def line(text: str) -> str:
    """Return one line of text (a status) in NFC; empty is allowed.

    Raises:
        ValueError: a control character, a line end of any kind, nothing to see though it is not empty, an unclosed or
            overriding direction, or more than `MAX_MARKS` marks in a row.
    """
    text = unicodedata.normalize("NFC", text)
    if not text:
        return text
    if _control(text) or "\u2028" in text or "\u2029" in text:
        raise ValueError("A control character or a line end is not allowed")
    if _turns(text):
        raise ValueError("A character that turns the direction of the text is not allowed")
    if _zalgo(text):
        raise ValueError(_ZALGO)
    if not shows_something(text):
        raise ValueError(_NOTHING)
    return text


def name(text: str) -> str:
    """Prepare a name after RFC 8266 §2.1: blanks become spaces, one between words and none around, and NFC.

    Raises:
        ValueError: a control character, nothing to see, a character that hides or turns what stands beside it, a mark
            at the beginning, or more than `MAX_MARKS` marks in a row.
    """
    if _control(text):
        raise ValueError("A control character is not allowed")
    text = unicodedata.normalize("NFC", _blanks.sub(" ", text).strip(" "))
    if not shows_something(text):
        raise ValueError(_NOTHING)
    if unicodedata.category(text[0])[0] == "M":
        raise ValueError("A name begins with a letter, digit or symbol, not with a combining mark")
    if _zalgo(text):
        raise ValueError(_ZALGO)
    if not text.isascii():
        seen = _flag.sub("\U0001f3f4", text)
        for found in _hidden.finditer(seen):
            if not _has_its_place(seen, found.start()):
                raise ValueError(f"U+{ord(found.group()):04X} cannot be seen, or hides or turns what stands beside it")
    return text


def opaque_string(text: str) -> str:
    """Prepare a password after RFC 8265 §4.2: every blank becomes U+0020, and NFC. Nothing is cut or folded.

    So a password is the same on a keyboard that composes its letters and on one that does not. What it may hold is not judged
    here: one that was accepted must stay usable.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", _blanks.sub(" ", text))


_NOTHING = "Expected something that can be seen"
_ZALGO = f"More than {MAX_MARKS} combining marks in a row are not allowed"


def _zalgo(text: str) -> bool:
    """Whether more than `MAX_MARKS` marks follow each other: one of them then is at a place that the number divides.

    A look at those places first costs 0.3 µs a short message, the expression 7 µs, and 2 ms one of 8,000 letters.
    """
    return not _has_no_mark(text[MAX_MARKS :: MAX_MARKS + 1]) and _run_of_marks(text) is not None


def _turns(text: str) -> bool:
    """Whether it overrides the direction of letters, or leaves an embedding or isolate open (UAX 9, BD 9)."""
    depth = 0
    for one in text:
        if one in "\u202d\u202e":
            return True
        if one in "\u202a\u202b\u2066\u2067\u2068":
            depth += 1
        elif one in "\u202c\u2069":
            depth -= 1
            if depth < 0:
                return True
    return depth != 0


def _has_its_place(text: str, at: int) -> bool:
    """Whether a character that cannot be seen by itself does its work where it stands."""
    one, before, after = text[at], text[at - 1] if at else " ", text[at + 1 : at + 2]
    if one == _ZWNJ or (one == _ZWJ and _is_letter(before)):
        return before >= _JOINING_FROM and _is_letter(before)  # RFC 5892, appendix A, without its tables
    if one == _ZWJ:
        return _is_emoji(before) and _is_emoji(after)
    if one in "\ufe0e\ufe0f":  # text or emoji presentation (UTS 51, 1.4.3); digits, # and * have keycaps
        return unicodedata.category(before)[0] in "SPN" or _is_emoji(before)
    if "\ufe00" <= one <= "\ufe0d" or "\U000e0100" <= one <= "\U000e01ef":
        return unicodedata.category(before) in {"Lo", "Sm"}  # forms of ideographs and of mathematical signs
    if "\u180b" <= one <= "\u180f":
        return "\u1820" <= before <= "\u18aa"  # forms of Mongolian letters
    return False


def _is_letter(one: str) -> bool:
    return unicodedata.category(one)[0] in "LM" and one not in _FILLERS and not "\ufe00" <= one <= "\ufe0f"


def _is_emoji(one: str) -> bool:
    """Roughly: symbols, presentation selectors and skin tones, and what Python's Unicode does not know yet."""
    return bool(one) and (one == "\ufe0f" or unicodedata.category(one) in {"So", "Sk", "Cn"} or one in "\u2640\u2642")
