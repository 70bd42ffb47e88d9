"""The queries of the run tree: functions of a connection that is in a transaction. Blocking."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, Row, func, insert, literal, select, update

from ..errors import Conflict
from ..models import Response
from .changes import fingerprint, key_of
from .queries import keyed
from .run_tables import executions, responses, runs
from .run_tables import instances as servers
from .tree import Changed, Execution, Kept, Progressing, Walk

CHANGED = "The run was changed meanwhile; look at it again."
LOST = "This execution was taken over by another attempt."
SETTLED = 10.0
"""Seconds after which an execution that was begun here must be going on here."""
VERB = "step"
"""What `runs.verb` says of a step-wise run; a plain run of the verb `step` is never stored."""


def create(connection: Connection, walk: Walk, key: str | None, asked: Sequence[Any]) -> Walk:
    hashed = key_of(walk.caller, key) if key else None
    told = fingerprint(walk.pipeline, walk.inputs, VERB, *asked) if key else None
    if hashed and (row := keyed(connection, hashed, told)):
        known = find(connection, row.id)
        assert known is not None, "only step-wise runs have such a fingerprint"
        return known
    connection.execute(
        insert(runs).values(
            id=walk.id,
            pipeline=walk.pipeline,
            version=walk.version,
            digest=walk.digest,
            verb=VERB,
            caller=walk.caller,
            origin=walk.origin,
            instance="",
            timeout=walk.timeout,
            started=walk.started,
            parent=walk.parent,
            step=walk.branch,
            key=hashed,
            fingerprint=told,
            inputs=orjson.dumps(walk.inputs),
            partial=False,
            size=0,
            **_standing(walk),
        )
    )
    _add(connection, walk, walk.path)
    return walk


def find(connection: Connection, identity: str) -> Walk | None:
    row = connection.execute(select(runs).where(runs.c.id == identity, runs.c.verb == VERB)).first()
    if row is None:
        return None
    return Walk(
        id=row.id,
        pipeline=row.pipeline,
        version=row.version,
        digest=row.digest,
        caller=row.caller,
        origin=row.origin,
        status=row.status,
        inputs=orjson.loads(row.inputs),
        timeout=row.timeout,
        started=row.started,
        finished=row.finished,
        error=row.error,
        parent=row.parent,
        branch=row.step,
        revision=row.attempt,
        path=_path(connection, row.head),
    )


def history(connection: Connection, identity: str) -> tuple[Execution, ...]:
    query = (
        select(executions)
        .where(executions.c.run == identity)
        .order_by(
            func.substr(executions.c.id, 1, 12),
            executions.c.number,
            executions.c.id,  # by time, then by step
        )
    )
    return _read(connection, connection.execute(query).all())


def change(connection: Connection, walk: Walk) -> Walk:
    known = set(connection.scalars(select(executions.c.id).where(executions.c.run == walk.id)))
    raised = runs.update().where(runs.c.id == walk.id, runs.c.attempt == walk.revision)
    standing = {**_standing(walk), "attempt": walk.revision + 1}
    if connection.execute(raised.values(**standing)).rowcount != 1:
        raise Changed(CHANGED)
    _add(connection, walk, [each for each in walk.path if each.id not in known])
    if walk.head is not None and walk.head.id in known:
        _choose(connection, walk.id, walk.head)
    return replace(walk, revision=walk.revision + 1)


def put(connection: Connection, execution: Execution, kept: Kept) -> None:
    _keep(connection, _fenced(connection, execution), execution.id, kept)


def end(
    connection: Connection, execution: Execution, status: Progressing, error: str | None
) -> tuple[str, ...]:
    """Gives the ids of the runs that stand there."""
    _fenced(connection, execution)
    ended = {"status": status, "error": error, "finished": time.time()}
    connection.execute(update(executions).where(executions.c.id == execution.id).values(ended))
    standing = {"status": "waiting" if status == "done" else "failed", "error": error}
    there = update(runs).where(runs.c.head == execution.id)
    moved = there.values(attempt=runs.c.attempt + 1, **standing).returning(runs.c.id)
    return tuple(connection.scalars(moved))


def claim(connection: Connection, attempt: str, instance: str, going: Sequence[str]) -> tuple[str, ...]:
    mine = (executions.c.instance == instance) & executions.c.id.not_in(going)
    stopped = mine & (executions.c.started < time.time() - SETTLED)
    gone = executions.c.instance.not_in(select(servers.c.id))
    left = (executions.c.status == "running") & (gone | stopped)
    found = connection.execute(select(executions.c.run, executions.c.id).where(left)).all()
    connection.execute(update(executions).where(left).values(attempt=attempt, instance=instance))
    heads = set(connection.scalars(select(runs.c.head).where(runs.c.head.in_([row.id for row in found]))))
    return tuple(row.run for row in found if row.id in heads)


def _standing(walk: Walk) -> dict[str, Any]:
    """What changes in the row of a run."""
    done = walk.status == "done" and walk.head is not None
    text = walk.head.output if done and walk.head else ""
    return {
        "status": walk.status,
        "error": walk.error,
        "finished": walk.finished,
        "head": walk.head.id if walk.head else None,
        "attempt": walk.revision,
        "content": orjson.dumps([{"type": "text", "text": text}]) if done else None,
        "structured": orjson.dumps({"result": text}) if done else None,
    }


def _add(connection: Connection, walk: Walk, added: Iterable[Execution]) -> None:
    for each in added:
        connection.execute(
            insert(executions).values(
                id=each.id,
                run=walk.id,
                parent=each.parent,
                number=each.number,
                name=each.step,
                status=each.status,
                attempt=each.attempt,
                instance=each.instance,
                started=each.started,
                finished=each.finished,
                error=each.error,
                inputs=orjson.dumps(each.inputs),
            )
        )
        _choose(connection, walk.id, each)


def _choose(connection: Connection, run: str, execution: Execution) -> None:
    """Store the selection of an execution, and those of its responses that are not stored."""
    chosen = {
        "selected": orjson.dumps(execution.selected).decode() if execution.selected else None,
        "merge": execution.merge,
        "feedback": execution.feedback,
        "inputs": orjson.dumps(execution.inputs),
    }
    connection.execute(update(executions).where(executions.c.id == execution.id).values(chosen))
    known = set(connection.scalars(select(responses.c.id).where(responses.c.execution == execution.id)))
    for kept in execution.responses:
        if kept.id not in known:
            _keep(connection, run, execution.id, kept)


def _keep(connection: Connection, run: str, execution: str, kept: Kept) -> None:
    """Store a response; the size of the run grows by it."""
    whole = orjson.dumps({"time": kept.time, "response": kept.response.model_dump(mode="json")})
    connection.execute(
        insert(responses).values(
            execution=execution,
            id=kept.id,
            run=run,
            model=kept.response.model,
            seconds=kept.response.seconds,
            error=kept.response.error,
            response=whole,
        )
    )
    connection.execute(update(runs).where(runs.c.id == run).values(size=runs.c.size + len(whole)))


def _fenced(connection: Connection, execution: Execution) -> str:
    """Let only the attempt write that holds the execution, until the transaction ends; gives its run."""
    mine = (
        (executions.c.id == execution.id)
        & (executions.c.attempt == execution.attempt)
        & (executions.c.status == "running")
    )
    run = connection.scalar(select(executions.c.run).where(mine).with_for_update())
    if run is None:
        raise Conflict(LOST)
    return run


def _path(connection: Connection, head: str | None) -> tuple[Execution, ...]:
    if head is None:
        return ()
    above = select(executions, literal(0).label("depth")).where(executions.c.id == head)
    path = above.cte("path", recursive=True)
    before = select(executions, path.c.depth + 1).join(path, executions.c.id == path.c.parent)
    path = path.union_all(before)
    return _read(connection, connection.execute(select(path).order_by(path.c.depth.desc())).all())


def _read(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Execution, ...]:
    query = select(responses).where(responses.c.execution.in_([row.id for row in rows]))
    found: dict[str, list[Kept]] = {}
    for row in connection.execute(query):
        whole = orjson.loads(row.response)
        kept = Kept(row.id, Response.model_validate(whole["response"]), whole["time"])
        found.setdefault(row.execution, []).append(kept)
    return tuple(_execution(row, found.get(row.id, [])) for row in rows)


def _execution(row: Row[Any], kept: Sequence[Kept]) -> Execution:
    return Execution(
        id=row.id,
        parent=row.parent,
        number=row.number,
        step=row.name,
        status=row.status,
        attempt=row.attempt,
        instance=row.instance,
        started=row.started,
        finished=row.finished,
        error=row.error,
        selected=tuple(orjson.loads(row.selected or "[]")),
        merge=row.merge,
        feedback=row.feedback,
        inputs=orjson.loads(row.inputs or b"{}"),
        responses=tuple(sorted(kept, key=lambda each: each.response.index)),
    )
