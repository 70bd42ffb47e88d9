"""Runs that wait for an answer as rows of no server: put there, answered, taken. Blocking.

A run is there with all that it recorded. Its answer is stored as a mark in its tree, by which a replay
knows it; the server that stores it has the run from then on.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select, update

from ..errors import Conflict
from ..models import Answers, Question, Run
from .changes import RunChange, packed, unpacked
from .rows import write_runs
from .run_tables import runs
from .step_queries import mark
from .steps import Turn

NOBODY = ""
"""The instance of what no server owns."""
GONE = "This run does not wait for that answer any more; look at it again."


def park(connection: Connection, change: RunChange) -> None:
    """Write how the run is, and let go of it."""
    assert change.row is not None, "a run that waits as a row is recorded"
    write_runs(connection, [change])
    mine = (runs.c.id == change.row.id) & (runs.c.instance == change.row.instance)
    connection.execute(update(runs).where(mine, runs.c.finished.is_(None)).values(instance=NOBODY))


def answer(
    connection: Connection, run: Run, number: int, answers: Answers, instance: str, continues: bool
) -> Run | None:
    """See `Steps.answer`."""
    row = _waiting(connection, run)
    question = Question.model_validate(unpacked(row.question))
    if question.number != number:
        raise Conflict(GONE)
    given = {**question.given, **{key: answers[key] for key in answers if key in question.requests}}
    left = {key: wanted for key, wanted in question.requests.items() if key not in given}
    if left:
        still = question.model_copy(update={"requests": left, "given": given})
        told = packed(still.model_dump(mode="json"))
        connection.execute(update(runs).where(runs.c.id == run.id).values(question=told))
        return None
    assert question.mark is not None, "or it would not wait as a row"
    head = mark(connection, run.id, instance, Turn(question.mark, row.head, given))
    return _own(connection, run, instance, continues=continues, head=head)


def take(connection: Connection, run: Run, instance: str) -> Run:
    """See `Steps.take`."""
    _waiting(connection, run)
    return _own(connection, run, instance)


def _waiting(connection: Connection, run: Run) -> Row[Any]:
    mine = (runs.c.id == run.id) & (runs.c.status == "waiting") & (runs.c.instance == NOBODY)
    row = connection.execute(select(runs).where(mine).with_for_update()).first()
    if row is None:
        raise Conflict(GONE)
    return row


def _own(connection: Connection, run: Run, instance: str, **more: Any) -> Run:
    values = {"instance": instance, "status": "running", "question": None, **more}
    connection.execute(update(runs).where(runs.c.id == run.id).values(values))
    known = {"status": "running", "question": None, "parked": False}
    return run.model_copy(update=known | ({"continues": more["continues"]} if "continues" in more else {}))
