"""Wraps everything anew under the first master key, while nodes serve: they have both keys, and read either form."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from realtime.store.wrapping import Place, wrapped_under

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.store.pool import Database
    from realtime.store.wrapping import MasterKeys

PAGE = 500


class WrappedColumn(NamedTuple):
    """A column of wrapped secrets, as the capability that owns it declares it.

    Args:
        table, column: What its values are bound to.
        listed: SQL that returns (row, value) of at most $2 rows behind the row $1, by ascending row, which is a text.
        replaced: SQL that sets the value of row $1 to $3 if it is $2.
    """

    table: str
    column: str
    listed: str
    replaced: str

    def place(self, row: str) -> Place:
        """Return what the value of one row is bound to."""
        return Place(self.table, self.column, row)


async def rewrap(database: Database, columns: Sequence[WrappedColumn], keys: MasterKeys) -> int:
    """Wrap anew what is wrapped under another master key than the first; again is harmless.

    Returns:
        How many values there were.

    Raises:
        Unreadable: one of them cannot be read; the others before it are done.
        Unavailable.
    """
    count = 0
    for column in columns:
        after = ""
        while page := await database.fetch(column.listed, after, PAGE):
            for row, value in page:
                if wrapped_under(value) != keys.ids[0]:
                    place = column.place(row)
                    await database.execute(column.replaced, row, value, keys.wrap(keys.unwrap(value, place), place))
                    count += 1
            after = page[-1]["row"]
    return count
