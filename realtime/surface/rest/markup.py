"""HTML from functions: what is not `Html` is text and is escaped. Pure."""

from __future__ import annotations

import html
import re
from typing import TypeAlias

Child: TypeAlias = "str | Html | None"

_CODE = re.compile(r"`([^`]+)`")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, *children: Child, **attributes: str) -> Html:
    """Make an element. `class_` stands for `class`, `aria_label` for `aria-label`; None among the children is left out."""
    opening = name + "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
    return Html(f"<{opening}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Put children in a row."""
    return Html("".join(one if isinstance(one, Html) else html.escape(one) for one in children if one is not None))


def prose(text: str) -> Html:
    """Write a line of documentation; what stands between backticks becomes code."""
    parts = _CODE.split(text)
    return join(*(tag("code", part) if index % 2 else part for index, part in enumerate(parts)))


def paragraphs(text: str) -> Html:
    return join(*(tag("p", prose(" ".join(part.split()))) for part in text.split("\n\n") if part.strip()))


def table(headings: list[str], rows: list[list[Child]]) -> Html:
    """Make a table that scrolls sideways on a narrow screen; the first cell of a row is its heading."""
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *body)), class_="wide")


def slug(text: str) -> str:
    """Make an id of a heading."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
