"""Whether a password may be chosen, after NIST 800-63B-4 §3.1.1: long, not common, not soon guessed. No rules of composition.

The estimate is zxcvbn's (Wheeler, USENIX Security 2016), which knows 30,000 common passwords, names, words, dates and
keyboards. It costs 1–2 ms, 60 ms for 40 characters that look like words in disguise, 0.4 s at most for 100: on the threads of
passwords.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zxcvbn import zxcvbn

from realtime.errors import PasswordTooWeak
from realtime.text import opaque_string

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_CHARS = 8
_SCORE = 3
"""Of 4: more than 10^8 guesses. "a good password" has 10^9, "Summer2024!" 10^7."""
_CUT = 100
_FIRST_CUT = 40
"""If so much is strong, so is all of it: what costs much to judge is seldom judged whole."""
_SERVICE = ("roomwire", "realtime", "room wire")
_WORDS = re.compile(r"[\W_]+")
_ONE_TIME = re.compile(r"[a-z2-9]{5}(?:-[a-z2-9]{5}){3}")


def require(password: str, about: Sequence[str], one_time: str | None = None) -> str:
    """Return a password prepared after RFC 8265, if it may be chosen.

    Args:
        about: What others know of who chooses it: username, display name.
        one_time: The password that works once, in place of which this one comes.

    Raises:
        PasswordTooWeak
    """
    prepared = opaque_string(password)
    if len(prepared) < MIN_CHARS:
        raise PasswordTooWeak(f"A password has at least {MIN_CHARS} characters. Choose a longer one, such as a few words.")
    if not prepared.strip():
        raise PasswordTooWeak("A password of blanks alone is the first that is tried. Choose a few words.")
    if _ONE_TIME.fullmatch(prepared) or (one_time is not None and prepared == opaque_string(one_time)):
        raise PasswordTooWeak("A password that works once cannot be kept. Choose one of your own.")
    context = [*_SERVICE, *(one[:_CUT] for one in about if one)]
    if any(prepared.casefold() == one.casefold() for one in context):
        raise PasswordTooWeak("Your name, or that of the service, is the first that is tried. Choose a few words of your own.")
    if not _strong(prepared, context):
        raise PasswordTooWeak
    return prepared


def _strong(password: str, context: list[str]) -> bool:
    once = " ".join(dict.fromkeys(_WORDS.split(password.casefold())))
    if once != password.casefold() and len(once) < len(password) / 2 + 1 and _score(once, context) < _SCORE:
        return False  # one word over and over is one word
    return _score(password[:_FIRST_CUT], context) >= _SCORE or (
        len(password) > _FIRST_CUT and _score(password[:_CUT], context) >= _SCORE
    )


def _score(password: str, context: list[str]) -> int:
    return int(zxcvbn(password, user_inputs=context, max_length=_CUT)["score"]) if password else 0
