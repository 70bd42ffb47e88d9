"""Deliveries as rows: written, taken over, listed, and never more than a number of them. Blocking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from .outbox import Delivery
from .run_tables import deliveries, instances

KEPT = 10_000
"""Deliveries the log holds; the oldest go first."""
_COLUMNS = [deliveries.c[field.name] for field in fields(Delivery)]


def write(connection: Connection, owner: str, delivery: Delivery) -> None:
    """Insert or update it."""
    row: dict[str, Any] = {**asdict(delivery), "instance": owner}
    known = connection.execute(update(deliveries).where(deliveries.c.id == delivery.id).values(row))
    if not known.rowcount:
        connection.execute(insert(deliveries).values(row))
        newest = select(deliveries.c.id).order_by(deliveries.c.id.desc())
        surplus = connection.scalar(newest.offset(KEPT).limit(1))
        if surplus is not None:
            connection.execute(delete(deliveries).where(deliveries.c.id <= surplus))


def adopt(connection: Connection, owner: str) -> Sequence[Delivery]:
    """Make what is pending of servers that are gone the owner's."""
    left = (deliveries.c.status == "pending", deliveries.c.instance.not_in(select(instances.c.id)))
    found = connection.execute(select(*_COLUMNS).where(*left).order_by(deliveries.c.id)).all()
    connection.execute(update(deliveries).where(*left).values(instance=owner))
    return [Delivery(*row) for row in found]


def listed(
    connection: Connection, chosen: Mapping[str, str | None], limit: int, before: str | None
) -> Sequence[Delivery]:
    """Those with these values, where one is given; the newest first."""
    wanted = [deliveries.c[name] == value for name, value in chosen.items() if value is not None]
    if before is not None:
        wanted.append(deliveries.c.id < before)
    found = select(*_COLUMNS).where(*wanted).order_by(deliveries.c.id.desc()).limit(limit)
    return [Delivery(*row) for row in connection.execute(found)]
