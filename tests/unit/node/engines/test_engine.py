"""Engines as small shell programs: how a start fails, is interrupted, waited for, and repeated."""

from __future__ import annotations

import logging
import pathlib
import signal
import time
from typing import TYPE_CHECKING

import pytest

from realtime.node.engines import engine as module
from realtime.node.engines.engine import Answer, Engine, start_all, stop_all
from realtime.node.engines.process import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SLEEP = "touch up; exec sleep 60"


class Fake(Engine):
    """A shell script in a folder; it answers once it has made the file `up`.

    Args:
        script: What it does.
    """

    def __init__(self, folder: pathlib.Path, script: str, name: str = "Fake") -> None:
        super().__init__(name, folder / f"{name}.log", None, signal.SIGTERM)
        self.folder = folder
        self.script = f"cd {folder}; {script}"
        self.prepared: Callable[[], None] = lambda: None
        self.answer = Answer.NO

    def _prepare(self) -> None:
        self.prepared()

    def _command(self) -> Sequence[str]:
        return ["/bin/sh", "-c", self.script]

    def _answers(self) -> Answer:
        return Answer.YES if (self.folder / "up").exists() else self.answer


def running(one: Engine) -> bool:
    return one._process is not None and one._process.poll() is None


def test_a_start_that_fails_is_told_at_once_with_the_last_words_and_the_others_end(tmp_path: pathlib.Path) -> None:
    """The other is in the middle of its start, at any moment of it: nothing may be left that nobody stops."""
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        failing = Fake(folder, "echo 'FATAL:  no rights' >&2; exit 1", "Failing")
        other = Fake(folder, "exec sleep 60", "Other")  # never answers
        began_s = time.monotonic()
        with pytest.raises(EngineError, match=r"^Failing did not start: no rights \(its log: .*Failing\.log\)\.$"):
            start_all([other, failing])
        assert time.monotonic() - began_s < 5
        assert not running(other)
        assert not other._watcher.is_alive()


def test_what_the_system_refuses_is_a_sentence_and_ends_the_start(tmp_path: pathlib.Path) -> None:
    failing, other = Fake(tmp_path, SLEEP, "Failing"), Fake(tmp_path, SLEEP, "Other")

    def refuse() -> None:
        (tmp_path / "stray").touch()
        (tmp_path / "stray").mkdir()

    failing.prepared = refuse
    with pytest.raises(EngineError, match=r"^Failing cannot start: File exists: .*/stray\.$"):
        start_all([failing, other])
    assert not running(other)


def test_a_log_that_cannot_be_written_is_a_sentence(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Fake.log").mkdir()
    with pytest.raises(EngineError, match=r"^Fake cannot start: Is a directory: .*Fake\.log\.$"):
        start_all([Fake(tmp_path, SLEEP)])


def test_a_program_that_says_nothing_is_told_by_its_status(tmp_path: pathlib.Path) -> None:
    with pytest.raises(EngineError, match=r"^Fake did not start: it ended with status 7 and said nothing"):
        start_all([Fake(tmp_path, "exit 7")])


def test_words_of_an_earlier_start_are_not_taken_for_its_last(tmp_path: pathlib.Path) -> None:
    (tmp_path / "Fake.log").write_text("FATAL:  of yesterday\n")
    with pytest.raises(EngineError, match="said nothing"):
        start_all([Fake(tmp_path, "exit 1")])


def test_one_that_recovers_is_waited_for_as_long_as_it_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_START_S", 0.2)
    monkeypatch.setattr(module, "_TELL_S", 0.1)
    monkeypatch.setattr(module, "_LOOK_AGAIN_S", 0.02)
    one = Fake(tmp_path, f"sleep 1; {SLEEP}")
    one.answer = Answer.STARTING
    with caplog.at_level(logging.WARNING):
        start_all([one])
    assert running(one)
    assert any("still starting" in record.message for record in caplog.records)
    stop_all([one])


def test_one_that_gives_no_sign_of_life_is_killed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_START_S", 0.2)
    one = Fake(tmp_path, "exec sleep 60")
    with pytest.raises(EngineError, match="does not answer after 0 s"):
        start_all([one])
    assert not running(one)


def test_a_stop_in_the_middle_of_a_start_leaves_nothing_running(tmp_path: pathlib.Path) -> None:
    one = Fake(tmp_path, "exec sleep 60")

    def stopped_meanwhile() -> None:
        one._stopping.set()  # as stop() does, in the moment before the launch

    one.prepared = stopped_meanwhile
    with pytest.raises(EngineError, match="was stopped while it started"):
        start_all([one])
    assert one._process is None


def test_one_that_dies_is_started_again_and_again_until_it_stays(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Fake(tmp_path, f"test -e broken && exit 1; {SLEEP}")
    start_all([one])
    assert one._process is not None
    first = one._process
    (tmp_path / "up").unlink()
    (tmp_path / "broken").touch()
    first.kill()
    deadline_s = time.monotonic() + 10
    while sum("did not start" in record.message for record in caplog.records) < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    (tmp_path / "broken").unlink()
    while not (running(one) and (tmp_path / "up").exists()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    assert one._process is not first
    stop_all([one])
    assert not running(one)
