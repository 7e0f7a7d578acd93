"""SQL from files, cut into named sections by `-- name: <section>` lines."""

from __future__ import annotations

import re
from importlib import resources
from types import SimpleNamespace

_SECTION = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


def load(folder: str, name: str) -> SimpleNamespace:
    """Read `<name>.sql` of a capability's folder in this package.

    Returns:
        A namespace whose attributes are the SQL texts by section name.

    Raises:
        ValueError: when a section stands twice, or SQL stands before the first one.
    """
    text = (resources.files("realtime") / folder / f"{name}.sql").read_text("utf-8")
    head, *parts = _SECTION.split(text)
    if re.sub(r"--.*", "", head).strip():
        raise ValueError(f"{folder}/{name}.sql: SQL before the first section")
    sections = dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))
    if len(sections) * 2 != len(parts):
        raise ValueError(f"{folder}/{name}.sql: a section name stands twice")
    return SimpleNamespace(**sections)
