"""The audit log as rows: appended, listed, and looked through from the first to the last. Blocking."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError

from ..errors import Unusable
from .audit import FIRST, AuditEvent, AuditRecord, Verdict, chained
from .file import connect, explain, is_postgresql, lock
from .run_tables import audit, audit_head

LOCK = "a0d17"
"""What servers on one PostgreSQL hold while they append."""
CHANGED = "tool_changed"
"""The action that is noted of a tool whose definition is another than before."""
BATCH = 1000

T = TypeVar("T")


def append(connection: Connection, moment: float, event: AuditEvent) -> AuditRecord:
    """Write an event behind the last one."""
    lock(connection, LOCK)
    number, before = head(connection)
    record = AuditRecord(number + 1, moment, event, chained(before, number + 1, moment, event))
    row = asdict(event) | {"number": record.number, "time": moment, "hash": record.hash}
    connection.execute(insert(audit).values(row))
    new = {"number": record.number, "hash": record.hash}
    if not connection.execute(update(audit_head).values(new)).rowcount:
        connection.execute(insert(audit_head).values(new | {"id": 1}))
    return record


def tools(connection: Connection, moment: float, digests: Mapping[str, str]) -> None:
    """Note the tools that are not as they were noted last, whichever server notices first."""
    lock(connection, LOCK)
    noted = select(audit.c.digest).where(audit.c.action == CHANGED).order_by(audit.c.number.desc()).limit(1)
    for name, digest in digests.items():
        if connection.scalar(noted.where(audit.c.subject == name)) != digest:
            append(connection, moment, AuditEvent(CHANGED, "server", subject=name, digest=digest))


def head(connection: Connection) -> tuple[int, str]:
    """The number and the hash of the last record."""
    row = connection.execute(select(audit_head.c.number, audit_head.c.hash)).first()
    return (row.number, row.hash) if row else (0, FIRST)


def listed(connection: Connection, limit: int, before: int | None) -> Sequence[AuditRecord]:
    """The newest first."""
    query = select(audit).order_by(audit.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.number < before)
    return [made(row) for row in connection.execute(query)]


def verified(connection: Connection, expected: str | None) -> Verdict:
    """Follow the chain from the first record to the head; `expected` is a hash that must be in it."""
    number, before, seen = 0, FIRST, expected in (None, FIRST)
    for record in _all(connection):
        number += 1
        if record.number != number:
            return Verdict(number - 1, before, f"record {number} is missing")
        if not record.follows(before):
            return Verdict(number - 1, before, f"record {number} was changed")
        before = record.hash
        seen = seen or before == expected
    if (number, before) != head(connection):
        return Verdict(number, before, f"records after {number} are missing")
    return Verdict(number, before, None if seen else "the expected hash is not in it: it was written anew")


def made(row: Row[Any]) -> AuditRecord:
    """A row as a record."""
    event = AuditEvent(**{each.name: getattr(row, each.name) for each in fields(AuditEvent)})
    return AuditRecord(row.number, row.time, event, row.hash)


def look(place: Path | str, read: Callable[[Connection], T]) -> T:
    """What `read` finds in a store, whether a server uses it or not. Raises `Unusable`."""
    if isinstance(place, Path) and not place.is_file():
        raise Unusable("There is no audit log: no server ever ran with these settings.")
    engine = connect(place)
    try:
        with engine.connect() as connection:
            if is_postgresql(connection):  # SQLite's readers see one moment anyway
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            if not inspect(connection).has_table(audit.name):
                raise Unusable("There is no audit log yet: no server of this release ran here.")
            return read(connection)
    except DBAPIError as error:
        raise Unusable(f"The audit log cannot be read: {explain(error)}.") from error
    finally:
        engine.dispose()


def _all(connection: Connection) -> Iterator[AuditRecord]:
    """Every record in order."""
    after = -1
    while rows := connection.execute(
        select(audit).where(audit.c.number > after).order_by(audit.c.number).limit(BATCH)
    ).all():
        yield from map(made, rows)
        after = rows[-1].number
