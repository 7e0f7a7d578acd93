"""Write `realtime/store/schema.sql`: what all migrations together make, so that the schema can be read in one place."""

from __future__ import annotations

import asyncio
import pathlib
import re
import subprocess
import tempfile

from realtime.node import engines
from realtime.node.engines.postgres import programs
from realtime.store import migrate
from realtime.store.provision import provision

SCHEMA = pathlib.Path(__file__).parents[1] / "realtime" / "store" / "schema.sql"
HEAD = "-- The schema that the migrations make. Written by `make docs`; a test fails when it is stale.\n\n"
_SETTINGS = re.compile(r"^(SET |SELECT pg_catalog\.set_config|\\(un)?restrict |--).*\n", re.MULTILINE)
_BLANKS = re.compile(r"\n{3,}")


def dump(owner: str) -> str:
    """Return the schema of a database as statements, without what changes from one dump to the next.

    Args:
        owner: URL, as the role that owns the tables.
    """
    command = [programs() / "pg_dump", "--schema-only", "--no-owner", "--no-comments", f"--dbname={owner}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    return HEAD + _BLANKS.sub("\n\n", _SETTINGS.sub("", text)).strip() + "\n"


async def _made(superuser: str) -> str:
    urls = await provision(superuser)
    await migrate.apply(urls.owner)
    return urls.owner


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="schema-") as folder:
        pathlib.Path(folder).chmod(0o711)
        postgres = engines.Postgres(pathlib.Path(folder), durable=False)
        engines.start_all([postgres])
        try:
            SCHEMA.write_text(dump(asyncio.run(_made(postgres.dsn))), "utf-8")
        finally:
            engines.stop_all([postgres])


if __name__ == "__main__":
    main()
