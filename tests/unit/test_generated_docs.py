"""The pages of `docs/` that are made from the code say what the code says."""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
from typing import TYPE_CHECKING, Any

import pytest

from realtime import errors
from realtime.config import Config
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS
from realtime.operations import by_event
from realtime.wire import socket

if TYPE_CHECKING:
    from types import ModuleType

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "tools" / "generate_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR: Any = _generator()


@pytest.mark.parametrize("name", sorted(GENERATOR.PAGES))
def test_a_generated_page_is_what_the_code_says(name: str) -> None:
    path = ROOT / "docs" / name
    assert path.exists(), f"docs/{name} is missing: run `make docs`"
    assert path.read_text("utf-8") == GENERATOR.PAGES[name](), f"docs/{name} is stale: run `make docs`"


def test_every_error_setting_and_event_is_on_its_page() -> None:
    errors_page, settings_page, events_page = (GENERATOR.PAGES[name]() for name in ("errors.md", "settings.md", "events.md"))
    for error in errors.all_errors():
        assert f"| `{error.code}` | {error.status} |" in errors_page
    for setting in dataclasses.fields(Config):
        assert f"`ROOMWIRE_{setting.name.upper()}`" in settings_page
    for name in {*by_event(OPERATIONS), *socket.EMITTED, *KINDS.structs}:
        assert f"### `{name}`" in events_page


def test_nothing_on_a_generated_page_is_cut_off_or_empty() -> None:
    for name, page in GENERATOR.PAGES.items():
        text = page()
        for line in text.splitlines():
            if line.startswith("|"):
                assert line.replace("\\|", "").count("|") >= 4, f"docs/{name}: a row with too few cells: {line}"
                assert not line.startswith("|  |"), f"docs/{name}: a row without a name: {line}"
        assert "None" not in text, f"docs/{name} shows a Python None"
