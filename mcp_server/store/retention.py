"""How long history is kept: by number, age and bytes. Blocking.

Runs go whole. What the components of a run did, and the artifacts it left, may go before it; it then says so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, case, delete, func, literal, select, update

from . import Bound, Kind
from .run_tables import artifacts, executions, responses, runs

AT_ONCE = 500
"""Runs removed, or cut, in one transaction, so that writing never waits long."""
CALLS = runs.c.verb != "step"
"""All but step-wise runs."""
ADDRESS = re.compile(rb"run://([0-9a-f]+)/artifacts/")
OWNERS: Mapping[Kind, Column[Any]] = MappingProxyType(
    {"runs": runs.c.id, "steps": executions.c.run, "artifacts": artifacts.c.run}
)
"""Which run a row belongs to."""
SIZES: Mapping[Kind, tuple[Column[Any], ColumnElement[Any]]] = MappingProxyType(
    {
        "runs": (runs.c.id, runs.c.size),
        "steps": (responses.c.run, func.length(responses.c.response)),
        "artifacts": (artifacts.c.run, artifacts.c.size),
    }
)
"""Which run bytes belong to, and how many they are."""


def surplus(connection: Connection, kind: Kind, kept: Bound) -> str | None:
    """The id of the newest run that is, or has, too much of this; or None. What ended up to it may go."""
    if kind == "runs":
        number = _by_number(connection, kept.number)
    else:
        number = _beyond(connection, kind, OWNERS[kind], literal(1), kept.number)
    found = [_by_age(kept.days), number, _beyond(connection, kind, *SIZES[kind], kept.bytes)]
    return max((each for each in found if each), default=None)


def remove(connection: Connection, kind: Kind, before: str, days: float | None) -> int:
    """Remove some of the runs up to this id that are over and have expired, or what they have of this.

    Gives of how many. What others need stays: a run that a younger one was made from, steps that a younger
    one shares, artifacts that were given to a run which is not over. A step-wise run is nothing without its
    steps, and keeps them; one that nobody moved for `days` is over too.
    """
    owner = OWNERS[kind]
    chosen = runs.c.finished.is_not(None) & ~(func.coalesce(runs.c.expires, 0.0) > time.time())
    if kind == "runs":
        chosen = chosen if days is None else chosen | _abandoned(days)
    else:
        chosen &= CALLS & select(owner).where(owner == runs.c.id).exists()
    if kind != "artifacts":
        chosen &= ~_shared(kind)
    if kind != "steps":
        chosen &= runs.c.id.not_in(_given(connection))
    old = select(runs.c.id).where(runs.c.id <= before, chosen).order_by(runs.c.id)
    some = connection.scalars(old.limit(AT_ONCE)).all()
    if kind != "runs":
        connection.execute(update(runs).where(runs.c.id.in_(some)).values(_without(kind)))
    connection.execute(delete(owner.table).where(owner.in_(some)))
    return len(some)


def _by_age(days: float | None) -> str | None:
    """Ids begin with the time in milliseconds."""
    return None if days is None else f"{int((time.time() - days * 86400) * 1000):012x}"


def _by_number(connection: Connection, number: int | None) -> str | None:
    """The newest run that is one too many: without adding up, for runs are many."""
    if number is None:
        return None
    return connection.scalar(select(runs.c.id).order_by(runs.c.id.desc()).offset(number).limit(1))


def _beyond(
    connection: Connection, kind: Kind, owner: Column[Any], amount: ColumnElement[Any], limit: int | None
) -> str | None:
    """The newest run with which all amounts, from the newest on, are more than the limit."""
    if limit is None:
        return None
    everything = connection.scalar(select(func.sum(amount)).select_from(owner.table))
    if (everything or 0) <= limit:  # nearly always; to add up row by row holds as many rows in memory
        return None
    if kind == "runs":
        each = select(owner.label("run"), amount.label("amount")).subquery()
    else:
        mine = owner.in_(select(runs.c.id).where(CALLS))
        summed = select(owner.label("run"), func.sum(amount).label("amount"))
        each = summed.where(mine).group_by(owner).subquery()
    total = func.sum(each.c.amount).over(order_by=each.c.run.desc()).label("total")
    totals = select(each.c.run, total).subquery()
    return connection.scalar(
        select(totals.c.run).where(totals.c.total > limit).order_by(totals.c.run.desc()).limit(1)
    )


def _abandoned(days: float) -> ColumnElement[bool]:
    """Step-wise runs that nobody moved since."""
    since = time.time() - days * 86400
    moved = (executions.c.run == runs.c.id) & (
        func.coalesce(executions.c.finished, executions.c.started) > since
    )
    left = ~select(executions.c.id).where(moved).exists()
    return (runs.c.instance == "") & (runs.c.started <= since) & left


def _shared(kind: Kind) -> ColumnElement[bool]:
    """A younger run was made from it, and if it is about steps, still has its own."""
    younger = runs.alias()
    made = select(younger.c.id).where(younger.c.parent == runs.c.id)
    if kind == "steps":
        made = made.where(select(executions.c.id).where(executions.c.run == younger.c.id).exists())
    return made.exists()


def _given(connection: Connection) -> set[str]:
    """The runs whose artifacts are arguments of runs that are not over."""
    going = select(runs.c.inputs).where(runs.c.finished.is_(None), runs.c.inputs.is_not(None))
    return {each.decode() for inputs in connection.scalars(going) for each in ADDRESS.findall(bytes(inputs))}


def _without(kind: Kind) -> dict[str, Any]:
    """What changes in the row of a run from which this goes."""
    owner, amount = SIZES[kind]
    gone = select(func.coalesce(func.sum(amount), 0)).where(owner == runs.c.id).scalar_subquery()
    return {
        "size": case((runs.c.size > gone, runs.c.size - gone), else_=0),
        "swept": func.coalesce(runs.c.swept + " ", "") + kind,
    }
