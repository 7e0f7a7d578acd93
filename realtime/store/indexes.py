"""Indexes that migrations build beside writers, on a table that an operator may have partitioned (docs/scaling.md)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from realtime.store.connections import Connection

_CREATE = re.compile(r"^CREATE (UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+) ON (\w+) ([^;]+);?\s*\Z", re.MULTILINE)
_LEAVES = """
SELECT t.relid::regclass::text AS name, c.relkind = 'p' AS is_partitioned
FROM pg_class c CROSS JOIN pg_partition_tree(c.oid) t
WHERE c.oid = to_regclass($1) AND t.isleaf
UNION ALL
SELECT $1, false FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind = 'r' AND NOT c.relispartition
"""
_IS_BROKEN = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)"


class Index(NamedTuple):
    """`CREATE [UNIQUE] INDEX name ON table what`."""

    unique: str
    name: str
    table: str
    what: str


def parse(sql: str) -> Index | None:
    """Read a step that builds one index concurrently; None: it is another one."""
    found = _CREATE.search(sql)
    return None if found is None else Index(found[1] or "", found[2], found[3], found[4].strip())


async def build(connection: Connection, index: Index) -> str:
    """Build an index beside writers; on a partitioned table, which takes none concurrently, one partition after the other.

    What an earlier try left half-built is dropped first: IF NOT EXISTS would take it for an index.

    Returns:
        What is still to be run in a transaction: the index of a partitioned table, which finds those of its partitions.
    """
    leaves = [(row["name"], row["is_partitioned"]) for row in await connection.fetch(_LEAVES, index.table)]
    for table, is_partition in leaves:
        name = f"{table}_{index.name.removeprefix(index.table + '_')}" if is_partition else index.name
        if await connection.fetchval(_IS_BROKEN, name):
            await connection.execute(f"DROP INDEX CONCURRENTLY {name}")
        await connection.execute(f"CREATE {index.unique}INDEX CONCURRENTLY IF NOT EXISTS {name} ON {table} {index.what}")
    if any(is_partition for _, is_partition in leaves):
        return f"CREATE {index.unique}INDEX IF NOT EXISTS {index.name} ON {index.table} {index.what}"
    return ""
