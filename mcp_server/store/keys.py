"""API keys as values, and a look for any in a file before it is opened. Light: queries are in `key_rows`."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from pydantic import Field

from ..models import Noun


class Key(Noun):
    """An API key, without its secret. Times are seconds since the epoch."""

    id: str
    """Stays through every rotation: the runs are bound to it."""
    name: str
    """What its owner calls it; no two keys have one name."""
    digest: str = Field(repr=False)
    """The SHA-256 of its secret, in hexadecimal."""
    scopes: tuple[str, ...]
    per_second: float | None = None
    per_hour: int | None = None
    """Requests it may make; None for what every key may."""
    created: float
    changed: float
    expires: float | None = None
    revoked: float | None = None

    @property
    def serves(self) -> bool:
        """True unless it was revoked or has expired."""
        return self.revoked is None and (self.expires is None or time.time() < self.expires)


def may_hold_keys(place: Path | str) -> bool:
    """False if there is certainly no key: in no file, or in one without a row. Takes about a millisecond.

    Another database is not asked: it may take long to answer.
    """
    if isinstance(place, str):
        return True
    if not place.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM keys LIMIT 1").fetchone() is not None
    except sqlite3.DatabaseError as error:
        return "no such table" not in str(error)
