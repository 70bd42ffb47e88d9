"""The questions history answers. Blocking."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, null, select

from ..errors import Conflict
from ..models import Run
from . import Filter, Page
from .changes import earliest_id
from .file import lock
from .rows import RunChange, restored, write_runs
from .run_tables import runs

LARGE = ("inputs", "content", "structured", "events", "question")
SMALL = [column for column in runs.c if column.name not in LARGE]


def find(connection: Connection, identity: str) -> Run | None:
    """A run with its inputs and result."""
    row = connection.execute(select(runs).where(runs.c.id == identity)).first()
    return restored(row) if row else None


def claim(connection: Connection, run: Run, change: RunChange) -> Run | None:
    """Write a run that has an idempotency key; or give the one that has this key already.

    Raises `Conflict` if that one was asked for something else.
    """
    assert change.row is not None and change.row.key is not None, "a run with a key is recorded"
    if row := keyed(connection, change.row.key, change.row.fingerprint):
        return restored(row)
    write_runs(connection, [change])
    return None


def keyed(connection: Connection, key: str, asked: str | None) -> Row[Any] | None:
    """The run that has this key, which nobody else can take until the transaction ends.

    Raises `Conflict` unless it was made by what has the fingerprint `asked`.
    """
    lock(connection, key)
    row = connection.execute(select(runs).where(runs.c.key == key)).first()
    if row is not None and row.fingerprint != asked:
        raise Conflict("This idempotency key was used for another pipeline or other arguments.")
    return row


def listed(connection: Connection, chosen: Filter, limit: int, before: str | None) -> Page:
    """One page of the runs that fit, from the one after `before`."""
    query = select(*SMALL, *(null().label(name) for name in LARGE)).order_by(runs.c.id.desc())
    for name in ("caller", "pipeline", "status", "parent", "version", "origin"):
        if (value := getattr(chosen, name)) is not None:
            query = query.where(runs.c[name] == value)
    if chosen.since is not None:
        query = query.where(runs.c.id >= earliest_id(chosen.since))
    if chosen.until is not None:
        query = query.where(runs.c.id < earliest_id(chosen.until))
    if before is not None:
        query = query.where(runs.c.id < before)
    found = [restored(row) for row in connection.execute(query.limit(limit + 1))]
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def children(connection: Connection, parent: str) -> tuple[Run, ...]:
    """The runs made from this one, with inputs and results, the oldest first."""
    query = select(runs).where(runs.c.parent == parent).order_by(runs.c.id)
    return tuple(restored(row) for row in connection.execute(query))
