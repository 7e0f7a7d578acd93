"""The last words of programs that end, and files that nobody else may read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from realtime.node.engines.directory import DataDirectory, DataDirectoryInUse, open_private
from realtime.node.engines.process import EngineError, last_words

if TYPE_CHECKING:
    import pathlib

STAMP = "2026-11-29 13:20:41.506 UTC [10389] "


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("", ""),
        (
            f'{STAMP}LOG:  starting PostgreSQL 18.6\n{STAMP}FATAL:  could not write lock file "postmaster.pid": No space left\n'
            f"{STAMP}LOG:  database system is shut down\n",
            'could not write lock file "postmaster.pid": No space left',
        ),
        (
            f"{STAMP}FATAL:  database files are incompatible with server\n"
            f"{STAMP}DETAIL:  The data directory was initialized by PostgreSQL version 17, which is not compatible.\n",
            "database files are incompatible with server"
            " (The data directory was initialized by PostgreSQL version 17, which is not compatible)",
        ),
        (
            "initdb: error: could not look up effective user ID 12345: user does not exist\n",
            "could not look up effective user ID 12345: user does not exist",
        ),
        (
            "17:C 29 Nov 2026 13:00:00.123 * oO0OoO0OoO0Oo Valkey is starting\n"
            "17:M 29 Nov 2026 13:00:00.125 # Failed opening Unix socket: bind: Permission denied\n",
            "Failed opening Unix socket: bind: Permission denied",
        ),
        (
            f"performing post-bootstrap initialization ... {STAMP}PANIC:  could not open file: Permission denied\nAborted\n"
            "initdb: error: failed to remove contents of data directory\n",
            "could not open file: Permission denied",
        ),
        ("what is this\n\n", "what is this"),
    ],
)
def test_the_last_words_are_the_fault_without_times_and_numbers(output: str, words: str) -> None:
    assert last_words(output) == words


def test_a_second_server_on_a_data_directory_hears_who_holds_it(tmp_path: pathlib.Path) -> None:
    first = DataDirectory(tmp_path / "data")
    try:
        with pytest.raises(DataDirectoryInUse, match=rf"process {os.getpid()}.*--data-dir") as caught:
            DataDirectory(tmp_path / "data")
        assert caught.value.holder == str(os.getpid())
    finally:
        first.close()
    DataDirectory(tmp_path / "data").close()


@pytest.mark.parametrize("stray", ["data", "data/lock/"])
def test_a_data_directory_that_cannot_be_used_is_one_sentence(tmp_path: pathlib.Path, stray: str) -> None:
    if stray.endswith("/"):
        (tmp_path / stray).mkdir(parents=True)
    else:
        (tmp_path / stray).touch()
    with pytest.raises(EngineError, match=r"^The data directory .* cannot be used: .*ROOMWIRE_DATA_DIR"):
        DataDirectory(tmp_path / "data")


def test_what_the_server_writes_is_its_own_alone_whatever_the_umask_and_the_past(tmp_path: pathlib.Path) -> None:
    old = tmp_path / "old.log"
    old.write_bytes(b"before\n")
    old.chmod(0o644)
    before = os.umask(0)
    try:
        data = DataDirectory(tmp_path / "data")
        data.close()
        for path in (old, tmp_path / "new.log"):
            with open_private(path) as file:
                file.write(b"line\n")
    finally:
        os.umask(before)
    assert old.read_bytes() == b"before\nline\n"
    modes = {path.name: path.stat().st_mode & 0o777 for path in (old, tmp_path / "new.log", data.path, data.path / "lock")}
    assert modes == {"old.log": 0o600, "new.log": 0o600, "data": 0o700, "lock": 0o600}
