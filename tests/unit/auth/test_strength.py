"""Which passwords may be chosen."""

from __future__ import annotations

import pytest

from realtime.auth import strength
from realtime.errors import PasswordTooWeak

ABOUT = ("annabell", "Anna Bell")


@pytest.mark.parametrize(
    "password",
    [
        "password", "password1", "Passw0rd!", "password password", "passwordpassword", "12345678", "qwertyuiop", "        ",
        "\u3000" * 9,
        "aaaaaaaaaaaa", "annabell", "AnnaBell", "Anna Bell 1", "llebanna", "roomwire", "Roomwire1", "Summer2024!", "short 1",
        "a\u0308" * 7, "no no no no no", "a" * 256, "abcde-fghjk-23456-mnpqr",
    ],
)  # fmt: skip
def test_what_is_common_short_or_a_name_is_refused_with_a_sentence_that_says_what_to_do(password: str) -> None:
    with pytest.raises(PasswordTooWeak) as refused:
        strength.require(password, ABOUT)
    assert refused.value.code == "password_too_weak"
    assert "Choose" in refused.value.message


@pytest.mark.parametrize(
    "password",
    [
        "a good password", "a good password 1", "correct horse 9", "correct horse battery",
        "K\u00e4sesp\u00e4tzle-\u00dcberraschung",
        "tr0ub4dor&3", "\U0001f600\u2764\ufe0f und ein Lied", "vier Z\u00fcge nach Ulm",
        "\u79c1\u306e\u65b0\u3057\u3044\u30d1\u30b9\u30ef\u30fc\u30c9\u3067\u3059",
        "4@38!10$5+7%2zaeio" * 14,
    ],
)  # fmt: skip
def test_a_few_words_or_random_characters_may_be_chosen(password: str) -> None:
    strength.require(password, ABOUT)


def test_the_password_that_works_once_is_refused_in_any_form_of_its_letters() -> None:
    with pytest.raises(PasswordTooWeak):
        strength.require("Ku\u0308che mit Zebra", ABOUT, one_time="K\u00fcche mit Zebra")
    assert strength.require("Ku\u0308che mit Zebra", ABOUT, one_time="another one") == "K\u00fcche mit Zebra"
