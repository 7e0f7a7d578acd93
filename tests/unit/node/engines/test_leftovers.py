"""What a killed PostgreSQL leaves behind, told from one that runs."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import pytest

from realtime.node.engines.leftovers import Note, Process, holder, processes, read_note, started_by_us

CLUSTER = pathlib.Path("/data/postgres")
NOTE = "4711\n/data/postgres\n1700000000\n5432\n/data/run-postgres\n\n  123456    789\nready   \n"


def test_the_note_of_a_running_postgresql_is_read() -> None:
    assert read_note(NOTE) == Note(4711, "/data/run-postgres", ready=True)
    assert read_note(NOTE.replace("ready   ", "starting")) == Note(4711, "/data/run-postgres", ready=False)


@pytest.mark.parametrize("text", ["", "\n", "\0\0\0\0", "postgres", "0\n/data/postgres\n"])
def test_a_note_damaged_by_a_crash_or_a_full_disk_says_nothing(text: str) -> None:
    assert read_note(text) is None


@pytest.mark.parametrize(
    "other",
    [
        Process(4711, ("redis-server", "*:0"), "/"),
        Process(4711, ("sleep", "120"), None),
        Process(
            4711, ("/usr/lib/postgresql/18/bin/postgres", "-D", "/var/lib/postgresql/18/main"), "/var/lib/postgresql/18/main"
        ),
        Process(4711, ("postgres", "-D", "/data/postgres2"), None),
        Process(4711, ("vi", "/data/postgres/postgresql.conf"), "/root"),
        Process(4711, ("python", "-m", "realtime", "serve", "--data-dir", "/data"), "/data"),
    ],
)
def test_another_process_with_the_old_number_holds_nothing(other: Process) -> None:
    assert holder([other], CLUSTER) is None


@pytest.mark.parametrize(
    "postgres",
    [
        Process(7, ("/x/postgres", "-D", "/data/postgres", "-k", "/data/run-postgres"), "/data/postgres"),
        Process(7, ("/x/postgres", "-D", "/data/postgres"), None),  # of a user whose folders we may not see
        Process(7, ("postgres", "-D", "."), "/data/postgres"),
        Process(7, ("postgres: walwriter ",), "/data/postgres"),
    ],
)
def test_who_works_in_the_directory_of_the_cluster_holds_it(postgres: Process) -> None:
    assert holder([Process(1, ("init",), "/"), postgres], CLUSTER) is postgres


def test_of_its_processes_the_first_is_found() -> None:
    parent = Process(90, ("postgres", "-D", "/data/postgres", "-k", "/data/run-postgres"), "/data/postgres")
    child = Process(80, ("postgres: checkpointer ",), "/data/postgres")
    assert holder([child, parent], CLUSTER) is parent
    assert started_by_us(parent, pathlib.Path("/data/run-postgres"))
    assert not started_by_us(parent, pathlib.Path("/elsewhere/run-postgres"))


def test_the_processes_of_this_machine_are_listed_with_the_folder_where_they_work(tmp_path: pathlib.Path) -> None:
    program = "print('there', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path)
    try:
        assert child.stdout is not None and child.stdout.readline(), "it is itself by now, and no copy of ours"
        [found] = [one for one in processes() if one.pid == child.pid]
        assert found.command == (sys.executable, "-c", program) or found.folder is None
        assert found.folder in (str(tmp_path.resolve()), None)
    finally:
        child.communicate(b"\n")
