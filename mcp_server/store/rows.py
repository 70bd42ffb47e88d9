"""Runs as rows: what is kept of a run, written many at a time, and read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from ..models import Caller, Fault, Question, Result, Run
from .changes import RunChange, RunRow, unpacked
from .counting import add, add_plain
from .insertion import Insertion
from .plain_rows import COLUMNS, ID, SAME, Plain, durations

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
CONFLICT = (
    f"(id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in UPDATED)} "
    f"WHERE runs.finished IS NULL AND {' AND '.join(f'runs.{name} = excluded.{name}' for name in CLAIM)}"
)
RUNS = Insertion("runs", RunRow._fields, CONFLICT)
PLAIN = Insertion("runs", COLUMNS, CONFLICT, SAME)


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
    RUNS.write(connection, latest(each.row for each in changes if each.row))
    if counted := [each.count for each in changes if each.count]:
        add(connection, counted)


def write_plain(connection: Connection, rows: Sequence[Plain]) -> None:
    """The same for plain calls: a row without what they have none of costs two thirds."""
    PLAIN.write(connection, [*{row[ID]: row for row in rows}.values()])
    add_plain(connection, durations(rows))


def latest(rows: Iterable[RunRow]) -> Sequence[RunRow]:
    """One row for each run, for a statement may name it only once; once ended it does not change."""
    found: dict[str, RunRow] = {}
    for row in rows:
        before = found.get(row.id)
        if before is None or before.finished is None:
            found[row.id] = row
    return list(found.values())
