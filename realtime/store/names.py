"""What the database and its two roles are called: an owner that migrates, an application role that serves.

Up to 0.2 the three were called `realtime`, `realtime_owner` and `realtime_app`. What was made with these names keeps them, and
migrations, whose files name `realtime_app` and cannot change any more, grant to the role that is there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from realtime.store.connections import Connection


class Names(NamedTuple):
    """Of a database and its roles."""

    database: str
    owner: str
    application: str


NAMES = Names("roomwire", "roomwire_owner", "roomwire_app")
BEFORE = Names("realtime", "realtime_owner", "realtime_app")

_APPLICATION = """
SELECT rolname FROM pg_roles r
WHERE rolname = ANY($1)
ORDER BY EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) a
                 WHERE c.oid = to_regclass('schema_migrations') AND a.grantee = r.oid) DESC,
         has_database_privilege(r.oid, current_database(), 'CONNECT') DESC,
         array_position($1, rolname::text)
LIMIT 1
"""
_GRANTEE = re.compile(rf"\b(?:{NAMES.application}|{BEFORE.application})\b")


def of(databases: Collection[str]) -> Names:
    """Return the names that an embedded PostgreSQL uses, by the databases that it has."""
    return BEFORE if BEFORE.database in databases and NAMES.database not in databases else NAMES


async def application_role(connection: Connection) -> str | None:
    """Return the application role of this database; None: there is none, the owner serves too.

    Of two on one server it is the one that this database has granted its tables to, else the one that may connect to it.
    """
    role: str | None = await connection.fetchval(_APPLICATION, [NAMES.application, BEFORE.application])
    return role


def granted_to(sql: str, role: str | None) -> str:
    """Return statements that grant to an application role, with the role that is there in its place."""
    return sql if role is None else _GRANTEE.sub(role, sql)
