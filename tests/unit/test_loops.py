"""Every background loop of the program runs under `tasks.Loops`: what is started in another way is told here, with the reason."""

from __future__ import annotations

import ast
import pathlib
from collections import Counter

import realtime

SOURCE = pathlib.Path(realtime.__file__).parent
ONE_SHOT = {
    "node/leaving.py": 1,  # sends connections away after a restore, once
    "surface/socket/acks.py": 1,  # the queued requests of one connection, each caught
    "extensions/namespaces.py": 1,  # what extensions start
    "extensions/siblings.py": 1,  # one connection each; and `_accept`, which catches everything
    "log/catch_up.py": 1,  # what one connection missed, each part caught
    "bus/cluster.py": 1,  # closes a shard
    "log/coalescer.py": 1,  # one load each, handed to those who asked
    "log/feeds.py": 1,  # opens a feed, for those who wait for it
    "log/reconciler.py": 1,  # repairs one feed
    "bus/shard.py": 1,  # a part of the loop that receives, which looks after it
    "log/writer.py": 1,  # a lane, each flush caught
    "node/starting.py": 2,  # one attempt, and the wait for a signal, both awaited
    "store/connecting.py": 1,  # one connection, for those who wait for it
    "store/connections.py": 1,
    "store/pool.py": 2,  # one statement; and the search for PostgreSQL, each try caught
    "node/supervisor.py": 3,  # one worker, each run caught; waits; and one read of its signs of life, awaited
    "tasks.py": 1,  # the loops
    "node/worker.py": 1,  # signs of life: without them the supervisor kills the worker
}


def test_every_task_is_a_loop_under_supervision_or_known_to_be_none() -> None:
    found: Counter[str] = Counter()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                found[path.relative_to(SOURCE).as_posix()] += node.func.attr in ("create_task", "ensure_future")
    assert {name: count for name, count in found.items() if count} == ONE_SHOT
