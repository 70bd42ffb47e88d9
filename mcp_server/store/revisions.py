"""The revisions of the schema, in order, and a look at the one of a file before it is opened."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ..errors import Outdated

REVISIONS = tuple(f"{number:04d}" for number in range(1, 16))
"""The last is what this code reads and writes."""
CURRENT = "SELECT version_num FROM alembic_version"


def check(place: Path | str) -> None:
    """Raise `Outdated` for a SQLite file that a newer release wrote; takes about a millisecond.

    Another database is looked at when it is reached, and so is a file that cannot be read now.
    """
    if isinstance(place, str) or not place.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row = connection.execute(CURRENT).fetchone()
    except sqlite3.Error:
        return
    if row is not None:
        known(row[0])


def known(revision: str | None) -> None:
    """Raise `Outdated` for a revision that a newer release made."""
    if revision not in REVISIONS:
        raise Outdated("The state was written by a newer release of this server; update this one.")
