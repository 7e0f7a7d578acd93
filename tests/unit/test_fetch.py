"""What is said when a registry cannot be reached: one sentence, within seconds."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tools import fetch

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator


@pytest.fixture
def silent() -> Iterator[str]:
    """A registry that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple/"


@pytest.fixture
def refusing() -> Iterator[str]:
    """A registry that answers 403."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple/"
        thread.join()


def tool(folder: pathlib.Path, name: str, says: str, status: int = 0) -> str:
    """Make a pip or npm that says its settings, and writes down what else it is asked."""
    program = folder / name
    program.write_text(
        f'#!/bin/sh\n[ "$1" = config ] && {{ cat <<\'E\'\n{says}\nE\nexit 0; }}\necho "$@" >>{folder}/asked\nexit {status}\n'
    )
    program.chmod(0o755)
    return str(program)


def test_a_registry_that_refuses_is_there(refusing: str) -> None:
    assert fetch.reachable(refusing)


def test_one_that_says_nothing_is_not_waited_for(silent: str) -> None:
    began_s = time.monotonic()
    assert not fetch.reachable(silent, 0.2)
    assert time.monotonic() - began_s < 2


def test_without_a_network_one_sentence_ends_it(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    pip = tool(tmp_path, "pip", "global.index-url='http://user:secret@127.0.0.1:9/simple'")
    assert fetch.main([pip, "install", "-r", "x"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("pip cannot reach 127.0.0.1: connect this machine to the network")
    assert "secret" not in said
    assert not (tmp_path / "asked").exists()


def test_what_is_at_hand_is_used_without_a_network(tmp_path: pathlib.Path) -> None:
    pip = tool(tmp_path, "pip", "global.index-url='http://127.0.0.1:9/simple'\n:env:.find-links='/wheels'")
    npm = tool(tmp_path, "npm", "registry=http://127.0.0.1:9/\nproxy=null\nhttps-proxy=null")
    assert fetch.main([pip, "install"]) == 0
    assert fetch.main([npm, "ci"]) == 0
    assert (tmp_path / "asked").read_text() == "install --no-index\nci --offline\n"


def test_a_failure_with_a_network_keeps_its_status(tmp_path: pathlib.Path, refusing: str) -> None:
    assert fetch.main([tool(tmp_path, "pip", f"global.index-url='{refusing}'", status=3), "install"]) == 3
