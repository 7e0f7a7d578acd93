"""What an error of PostgreSQL means for whoever asked, by the class of its SQLSTATE. Pure.

The codes are those of PostgreSQL's appendix A. What is not listed is our own fault: a statement that cannot work.
"""

from __future__ import annotations

import enum


class Meaning(enum.Enum):
    """Whose trouble it is, and what helps."""

    AWAY = "away"
    """The server is not there for us: it goes, comes, is a standby, or does not know us any more. Look for its return."""
    CONNECTION = "connection"
    """This connection lost its state. Nothing was done: another connection will do it."""
    AGAIN = "again"
    """The transaction lost against another one and was rolled back: the same again will do."""
    WANT = "want"
    """The server answered and had not what it takes: a lock, time, memory, room on its disk, a right, a table."""
    VALUE = "value"
    """A value of this request cannot be stored, by the server's rules or the database owner's. Again would not help."""
    OURS = "ours"
    """A statement of ours is wrong."""


_CLASSES = {
    "08": Meaning.AWAY,  # connection exception; poolers say it too
    "21": Meaning.VALUE,  # cardinality violation
    "22": Meaning.VALUE,  # data exception
    "23": Meaning.VALUE,  # integrity constraint violation
    "25": Meaning.CONNECTION,  # invalid transaction state
    "27": Meaning.VALUE,  # triggered data change violation
    "28": Meaning.AWAY,  # invalid authorization: a password or pg_hba.conf that was changed
    "40": Meaning.AGAIN,  # serialization failure, deadlock
    "44": Meaning.VALUE,  # WITH CHECK OPTION violation
    "53": Meaning.WANT,  # insufficient resources: connections, memory, disk
    "54": Meaning.VALUE,  # program limit exceeded: a key too long for its index
    "55": Meaning.WANT,  # object not in prerequisite state: a lock, a table in use
    "57": Meaning.AWAY,  # operator intervention: shutdown, crash, start
    "58": Meaning.WANT,  # system error outside of PostgreSQL: input and output
    "72": Meaning.WANT,  # snapshot too old
    "F0": Meaning.WANT,  # configuration file error
    "P0": Meaning.VALUE,  # RAISE in a trigger of the database's owner
    "XX": Meaning.WANT,  # internal error, data or index corrupted
}
_CODES = {
    "08P01": Meaning.CONNECTION,  # protocol violation: also a pooler that lost the session
    "0A000": Meaning.CONNECTION,  # "cached plan must not change result type", after a migration
    "22P05": Meaning.VALUE,
    "25006": Meaning.AWAY,  # read-only: a standby, or a primary that was made one
    "25P03": Meaning.WANT,  # idle_in_transaction_session_timeout
    "25P04": Meaning.WANT,  # transaction_timeout
    "26000": Meaning.CONNECTION,  # prepared statement does not exist: DEALLOCATE, DISCARD, a pooler
    "3D000": Meaning.AWAY,  # the database does not exist: it is being restored
    "3F000": Meaning.WANT,  # nor does the schema
    "40003": Meaning.WANT,  # statement completion unknown
    "42501": Meaning.WANT,  # insufficient privilege: a GRANT is missing, for now
    "42704": Meaning.WANT,  # undefined object,
    "42703": Meaning.WANT,  # column,
    "42883": Meaning.WANT,  # function
    "42P01": Meaning.WANT,  # or table: the schema is being changed or restored
    "42P05": Meaning.CONNECTION,  # prepared statement exists already: a pooler
    "57014": Meaning.WANT,  # statement_timeout, or cancelled by an operator
    "57P05": Meaning.CONNECTION,  # idle_session_timeout
    "P0004": Meaning.OURS,  # assert failure
}


def meaning(sqlstate: str | None) -> Meaning:
    """Return what a SQLSTATE means; None stands for an error without one."""
    code = sqlstate or ""
    return _CODES.get(code) or _CLASSES.get(code[:2], Meaning.OURS)


def may_be_one_row(sqlstate: str | None) -> bool:
    """Tell whether a batch was refused for what may be the fault of one row, or of the room of one row, in it.

    A lock that is not free is one room's (55P03), and damaged data (XX) are some pages.
    """
    code = sqlstate or ""
    return meaning(code) is Meaning.VALUE or code == "55P03" or code[:2] == "XX"
