"""The queries of recorded component calls: functions of a connection that is in a transaction. Blocking."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, insert, literal, select, update

from ..errors import Conflict
from ..models import Artifact, Json, Run, StepDone
from .changes import RunChange, fingerprint, new_id, origin, packed
from .queries import claim
from .rows import write_runs
from .run_tables import artifacts, executions, responses, runs
from .steps import Line, Recorded, Turn

PARTS = ("inputs", "outputs")
"""What is stored beside a call, because it may be large."""
MARK = "queued"
"""The status of a mark."""


def add(connection: Connection, run: Run, instance: str, step: StepDone) -> None:
    """Store a call at the head of its run; nothing happens if the run has ended or is another server's."""
    mine = (
        (runs.c.id == run.id)
        & (runs.c.instance == instance)
        & (runs.c.attempt == run.attempt)
        & runs.c.finished.is_(None)
    )
    row = connection.execute(select(runs.c.head).where(mine).with_for_update()).first()
    if row is None:
        return
    identity = new_id()
    connection.execute(
        insert(executions).values(
            id=identity,
            run=run.id,
            parent=row.head,
            number=step.began,
            name=step.label,
            status="failed" if step.error else "done",
            attempt=str(run.attempt),
            instance=instance,
            started=step.started,
            finished=step.started + step.seconds,
            error=step.error,
            inputs=step.model_dump_json(exclude={"kind", "error", *PARTS}).encode(),
        )
    )
    for part in PARTS:
        if (text := getattr(step, part)) is not None:
            values = {"execution": identity, "id": part, "run": run.id, "model": step.component}
            connection.execute(insert(responses).values(values | {"response": text.encode()}))
    connection.execute(update(runs).where(runs.c.id == run.id).values(head=identity))


def line(connection: Connection, identity: str) -> Line:
    known = select(runs.c.head, runs.c.swept).where(runs.c.id == identity, runs.c.verb != "step")
    if (run := connection.execute(known).first()) is None:
        return Line()  # the executions of a step-wise run are no calls of components
    path = _path(connection, run.head)
    passed = {row.id for row in path}
    made = select(executions).where(executions.c.run == identity)
    made = made.order_by(executions.c.finished, executions.c.number)
    left = [row for row in connection.execute(made) if row.id not in passed and row.status != MARK]
    steps = [_recorded(row) for row in path if row.status != MARK]
    latest = {each.step.label: each for each in steps}  # made again by a later attempt
    changes: dict[str, Json] = {}
    for row in path:
        if row.status == MARK:
            changes[row.name] = {**changes.get(row.name, {}), **orjson.loads(row.inputs)}
    return Line(
        tuple(each for each in steps if latest[each.step.label] is each),
        changes,
        tuple(map(_recorded, left)),
        tuple((run.swept or "").split()),
    )


def whole(connection: Connection, chosen: Sequence[Recorded]) -> tuple[StepDone, ...]:
    query = select(responses).where(responses.c.execution.in_([each.id for each in chosen]))
    parts: dict[str, Json] = {}
    for row in connection.execute(query):
        parts.setdefault(row.execution, {})[row.id] = bytes(row.response).decode()
    return tuple(each.step.model_copy(update=parts.get(each.id, {})) for each in chosen)


def part(connection: Connection, run: str, name: str) -> Artifact | None:
    """What a call got or gave, as an artifact that is named `LABEL.inputs.json` or `LABEL.outputs.json`."""
    label, _, part = name.removesuffix(".json").rpartition(".")
    chosen = [each for each in line(connection, run).steps if each.step.label == label]
    if not chosen or part not in PARTS:
        return None
    (step,) = whole(connection, chosen)
    data = step.got if part == "inputs" else step.gave
    return Artifact(name=name, mime_type="application/json", content=packed(data))


def fork(connection: Connection, run: Run, change: RunChange, turn: Turn) -> Run | None:
    assert change.row is not None, "a run that is recorded"
    if run.key is None:
        write_runs(connection, [change])
    else:
        asked = fingerprint(run.pipeline, run.inputs, *origin(run), turn.changes)
        change = replace(change, row=change.row._replace(fingerprint=asked))
        assert change.row is not None
        if known := claim(connection, run, change):
            return known
    head = mark(connection, change.row.id, change.row.instance, turn)
    connection.execute(update(runs).where(runs.c.id == change.row.id).values(head=head))
    return None


def rewind(connection: Connection, run: Run, turn: Turn, instance: str) -> Run:
    ended = (runs.c.id == run.id) & (runs.c.attempt == run.attempt) & runs.c.finished.is_not(None)
    empty = dict.fromkeys(("finished", "error", "fault", "content", "structured", "usage", "events", "swept"))
    going = {"status": "running", "instance": instance, "attempt": run.attempt + 1, "partial": False} | {
        "continues": run.continues
    }
    if connection.execute(update(runs).where(ended).values(empty | going)).rowcount != 1:
        raise Conflict("The run was changed meanwhile; look at it again.")
    connection.execute(delete(artifacts).where(artifacts.c.run == run.id))
    head = mark(connection, run.id, instance, turn)
    connection.execute(update(runs).where(runs.c.id == run.id).values(head=head, started=time.time()))
    again = {"status": "running", "attempt": run.attempt + 1, "started": time.time(), "finished": None}
    return run.model_copy(update=again | {"result": None, "error": None, "usage": None})


def mark(connection: Connection, run: str, instance: str, turn: Turn) -> str:
    """Store that a run begins anew there; gives its new head."""
    identity = new_id()
    connection.execute(
        insert(executions).values(
            id=identity,
            run=run,
            parent=turn.after,
            number=0,
            name=turn.label,
            status=MARK,
            attempt="",
            instance=instance,
            started=time.time(),
            inputs=orjson.dumps(turn.changes),
        )
    )
    return identity


def _path(connection: Connection, head: str | None) -> Sequence[Row[Any]]:
    if head is None:
        return ()
    above = select(executions, literal(0).label("depth")).where(executions.c.id == head)
    path = above.cte("path", recursive=True)
    before = select(executions, path.c.depth + 1).join(path, executions.c.id == path.c.parent)
    path = path.union_all(before)
    return connection.execute(select(path).order_by(path.c.depth.desc())).all()


def _recorded(row: Row[Any]) -> Recorded:
    step = StepDone.model_validate({**orjson.loads(row.inputs), "error": row.error})
    return Recorded(row.id, row.parent, row.run, int(row.attempt), step)
