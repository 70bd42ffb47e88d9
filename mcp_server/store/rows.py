"""Runs as rows: what is kept of a run, written many at a time, and read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Row

from ..models import Caller, Fault, Question, Result, Run
from .changes import RunChange, RunRow, unpacked
from .counting import add
from .file import is_postgresql
from .plain_rows import COLUMNS, ID, Plain, counts

AT_ONCE = 64
"""Rows in one statement; more gain nothing."""
CLAIM = ("instance", "attempt")


UPDATED = (
    "status",
    "finished",
    "error",
    "usage",
    "size",
    "partial",
    "fault",
    "content",
    "structured",
    "continues",
    "events",
    "question",
    "expires",
)
"""What may change of a run that is already there."""


def restored(row: Row[Any]) -> Run:
    """The run of a row; its artifacts are not with it."""
    result = None
    if row.content is not None:
        result = Result(
            content=bytes(row.content),
            structured=None if row.structured is None else bytes(row.structured),
            is_error=row.status != "done",
            fault=Fault.model_validate_json(row.fault) if row.fault else None,
            partial=row.partial,
        )
    return Run(
        id=row.id,
        pipeline=row.pipeline,
        version=row.version,
        digest=row.digest,
        inputs=unpacked(row.inputs) if row.inputs is not None else {},
        has_inputs=row.inputs is not None,
        verb=row.verb,
        caller=Caller(name=row.caller, origin=row.origin),
        timeout=row.timeout,
        status=row.status,
        question=None if row.question is None else Question.model_validate(unpacked(row.question)),
        result=result,
        error=row.error,
        usage=unpacked(row.usage.encode()) if row.usage else None,
        parent=row.parent,
        step=row.step,
        started=row.started,
        finished=row.finished,
        attempt=row.attempt,
        continues=row.continues,
        parked=row.status == "waiting" and row.instance == "" and row.verb == "call",
        events=tuple(unpacked(row.events)) if row.events is not None else (),
    )


def write_runs(connection: Connection, changes: Sequence[RunChange]) -> None:
    """Insert or update them all; the last state of a run wins. Who lost the claim changes nothing."""
    _insert(connection, RunRow._fields, latest(each.row for each in changes if each.row))
    if counted := [each.count for each in changes if each.count]:
        add(connection, counted)


def write_plain(connection: Connection, rows: Sequence[Plain]) -> None:
    """The same for plain calls: a row without what they have none of costs two thirds."""
    _insert(connection, COLUMNS, [*{row[ID]: row for row in rows}.values()])
    add(connection, counts(rows))


def _insert(connection: Connection, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    """In powers of two: the driver keeps each statement prepared, of every length they would be 5 MB."""
    mark, start = "%s" if is_postgresql(connection) else "?", 0
    while left := len(rows) - start:
        size = min(AT_ONCE, 1 << left.bit_length() - 1)
        some = chain.from_iterable(rows[start : start + size])
        connection.exec_driver_sql(insertion(columns, size, mark), tuple(some))
        start += size


def latest(rows: Iterable[RunRow]) -> Sequence[RunRow]:
    """One row for each run, for a statement may name it only once; once ended it does not change."""
    found: dict[str, RunRow] = {}
    for row in rows:
        before = found.get(row.id)
        if before is None or before.finished is None:
            found[row.id] = row
    return list(found.values())


@cache
def insertion(columns: tuple[str, ...], rows: int, mark: str) -> str:
    """The statement for so many rows of these columns, as the driver takes it."""
    row = f"({', '.join([mark] * len(columns))})"
    values = ", ".join([row] * rows)
    updates = ", ".join(f"{name} = excluded.{name}" for name in UPDATED)
    claimed = " AND ".join(f"runs.{name} = excluded.{name}" for name in CLAIM)
    return (
        f"INSERT INTO runs ({', '.join(columns)}) VALUES {values} "
        f"ON CONFLICT (id) DO UPDATE SET {updates} WHERE runs.finished IS NULL AND {claimed}"
    )
