"""How long history is kept: by number, age and bytes. Blocking."""

from __future__ import annotations

import time

from sqlalchemy import Connection, delete, func, select

from . import Retention
from .run_tables import executions, runs

AT_ONCE = 500
"""Runs removed in one transaction, so that writing never waits long."""


def surplus(connection: Connection, kept: Retention) -> str | None:
    """The newest id that is too much, or None. What ended up to it may go."""
    found = [_by_age(kept.days), _by_number(connection, kept.runs), _by_bytes(connection, kept.bytes)]
    return max((each for each in found if each), default=None)


def remove(connection: Connection, before: str, days: float | None) -> int:
    """Remove some of the runs up to this id that are over and have expired, with what they left.

    Gives how many.

    What a younger run was made from stays, for it shares its past. A step-wise run that nobody moved for
    `days` is over too.
    """
    younger = runs.alias()
    spared = func.coalesce(runs.c.expires, 0.0) > time.time()
    over = runs.c.finished.is_not(None) & ~spared
    if days is not None:
        since = time.time() - days * 86400
        moved = (executions.c.run == runs.c.id) & (
            func.coalesce(executions.c.finished, executions.c.started) > since
        )
        over |= (
            (runs.c.instance == "")
            & (runs.c.started <= since)
            & ~select(executions.c.id).where(moved).exists()
        )
    used = select(younger.c.id).where(younger.c.parent == runs.c.id).exists()
    old = select(runs.c.id).where(runs.c.id <= before, over, ~used)
    some = connection.scalars(old.order_by(runs.c.id).limit(AT_ONCE)).all()
    connection.execute(delete(runs).where(runs.c.id.in_(some)))
    return len(some)


def _by_age(days: float | None) -> str | None:
    """Ids begin with the time in milliseconds."""
    return None if days is None else f"{int((time.time() - days * 86400) * 1000):012x}"


def _by_number(connection: Connection, number: int | None) -> str | None:
    if number is None:
        return None
    return connection.scalar(select(runs.c.id).order_by(runs.c.id.desc()).offset(number).limit(1))


def _by_bytes(connection: Connection, limit: int | None) -> str | None:
    if limit is None:
        return None
    total = func.sum(runs.c.size).over(order_by=runs.c.id.desc()).label("total")
    sizes = select(runs.c.id, total).subquery()
    return connection.scalar(
        select(sizes.c.id).where(sizes.c.total > limit).order_by(sizes.c.id.desc()).limit(1)
    )
