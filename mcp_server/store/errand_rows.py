"""Errands as rows: asked for, found by the server that has the run, removed. Blocking."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from .changes import packed, unpacked
from .errands import Errand
from .run_tables import errands, instances, runs


def put(connection: Connection, asker: str, errand: Errand) -> None:
    """Ask for it in the name of a server."""
    answers = None if errand.answers is None else packed(errand.answers)
    row = {"id": errand.id, "run": errand.run, "number": errand.number, "answers": answers}
    connection.execute(insert(errands).values(row | {"instance": asker}))


def of(connection: Connection, owner: str) -> Sequence[Errand]:
    """What is to be done with the runs of a server, the oldest first."""
    wanted = select(errands).join(runs).where(runs.c.instance == owner).order_by(errands.c.id)
    return [
        Errand(row.id, row.run, row.number, None if row.answers is None else unpacked(row.answers))
        for row in connection.execute(wanted)
    ]


def remove(connection: Connection, errand: Errand) -> bool:
    """False if it is not there any more."""
    return connection.execute(delete(errands).where(errands.c.id == errand.id)).rowcount > 0


def forget(connection: Connection) -> None:
    """Remove what servers that are gone asked for: nobody waits for it."""
    connection.execute(delete(errands).where(errands.c.instance.not_in(select(instances.c.id))))
