"""The questions history answers. Blocking."""

from __future__ import annotations

from sqlalchemy import Connection, null, select

from ..errors import Conflict
from ..models import Run
from . import Filter, Page
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
    lock(connection, change.row.key)
    row = connection.execute(select(runs).where(runs.c.key == change.row.key)).first()
    if row is None:
        write_runs(connection, [change])
        return None
    if row.fingerprint != change.row.fingerprint:
        raise Conflict("This idempotency key was used for another pipeline or other arguments.")
    return restored(row)


def listed(connection: Connection, chosen: Filter, limit: int, before: str | None) -> Page:
    """One page of the runs that fit, from the one after `before`."""
    query = select(*SMALL, *(null().label(name) for name in LARGE)).order_by(runs.c.id.desc())
    wanted = {"caller": chosen.caller, "pipeline": chosen.pipeline, "status": chosen.status}
    for name, value in (wanted | {"parent": chosen.parent}).items():
        if value is not None:
            query = query.where(runs.c[name] == value)
    if before is not None:
        query = query.where(runs.c.id < before)
    found = [restored(row) for row in connection.execute(query.limit(limit + 1))]
    return Page(tuple(found[:limit]), found[limit - 1].id if len(found) > limit else None)


def children(connection: Connection, parent: str) -> tuple[Run, ...]:
    """The runs made from this one, with inputs and results, the oldest first."""
    query = select(runs).where(runs.c.parent == parent).order_by(runs.c.id)
    return tuple(restored(row) for row in connection.execute(query))
