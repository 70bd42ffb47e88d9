"""Rows written many at a time, by few statements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from sqlalchemy import Connection

from .file import is_postgresql

AT_ONCE = 512
"""Rows in one statement. With each, the thread that writes waits several times for the one that serves, which
wakes it in vain with each of its calls until then."""
FEW = 128
"""Values up to which there are statements of every length."""


class Insertion(NamedTuple):
    """An INSERT, with what becomes of a row that is there already."""

    table: str
    columns: tuple[str, ...]
    conflict: str
    """What follows ON CONFLICT."""
    same: tuple[tuple[str, str], ...] = ()
    """Further columns, and what SQL calls the value that all rows have there."""

    def write(self, connection: Connection, rows: Sequence[Sequence[object]]) -> None:
        """Write the rows, each with a value for each of `columns`. Raises SQLAlchemy's `DBAPIError`.

        Many go in powers of two: the driver keeps each statement, and of every length they would be 50 MB.
        """
        mark, start = "%s" if is_postgresql(connection) else "?", 0
        while left := len(rows) - start:
            few = left * len(self.columns) <= FEW
            size = left if few else min(AT_ONCE, 1 << left.bit_length() - 1)
            some = chain.from_iterable(rows[start : start + size])
            connection.exec_driver_sql(stated(self, size, mark), tuple(some))
            start += size


@cache
def stated(insertion: Insertion, rows: int, mark: str) -> str:
    """The statement for so many rows, as the driver takes it."""
    names = (*insertion.columns, *(name for name, _ in insertion.same))
    row = (*[mark] * len(insertion.columns), *(value for _, value in insertion.same))
    values = ", ".join([f"({', '.join(row)})"] * rows)
    return (
        f"INSERT INTO {insertion.table} ({', '.join(names)}) VALUES {values} ON CONFLICT {insertion.conflict}"
    )
