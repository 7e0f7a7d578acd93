"""Extensions are loaded where settings name some; what stands in the way is said in one sentence."""

from __future__ import annotations

import sys

import pytest

from realtime.config import ConfigError
from realtime.extensions.loading import load


def test_without_its_package_extensions_stop_the_start_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("socketio", "engineio")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("namespaces", "client_manager", "guest"):
        monkeypatch.delitem(sys.modules, f"realtime.extensions.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "socketio", None)
    assert load((), 1000) is None
    with pytest.raises(ConfigError, match=r"^ROOMWIRE_EXTENSIONS needs the package socketio: install roomwire\[extensions\]\.$"):
        load(("board:register",), 1000)
