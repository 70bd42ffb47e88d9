"""What becomes of a run: a value, made of how its work ended."""

from __future__ import annotations

import asyncio
import logging
import time

import orjson

from ..content import failure
from ..errors import ServerError
from ..models import Emit, Result, Run, RunStatus
from ..store import INTERRUPTED

ERROR = 500
"""Characters of a failure that a list of runs shows."""

CANCELLED = "The run was cancelled."
STOPPED = "The server stopped before this run ended."
LOST = "What the run said could not be told."

log = logging.getLogger(__name__)


class Parked(Exception):
    """Ends the work of a run that waits as a row from now on."""


async def parked(run: Run, emit: Emit) -> Result:
    """The work of a run that waits as a row."""
    raise Parked


def outcome(run: Run, told: Result | BaseException, *, interrupted: bool, asks: bool) -> Run | None:
    """The run as its work has ended it, by a result or by what it raised; None if it goes on elsewhere.

    `interrupted` is true if that is because the server ends, `asks` if the run waited for an answer.
    """
    if isinstance(told, Result):
        return _ended(run, "failed" if told.is_error else "done", told, interrupted=interrupted)
    if isinstance(told, Parked):
        return None
    if isinstance(told, asyncio.CancelledError) and not interrupted:
        return _ended(run, "cancelled", failure(CANCELLED))
    if isinstance(told, asyncio.CancelledError):
        goes_on = run.continues and not asks  # on another server
        return None if goes_on else _ended(run, "failed", failure(STOPPED), interrupted=True)
    if not isinstance(told, ServerError):  # undeployed since it was found
        log.error("run %s could not be heard", run.id, exc_info=told)
    text = str(told) if isinstance(told, ServerError) else LOST
    return _ended(run, "failed", failure(text), interrupted=interrupted)


def _ended(run: Run, status: RunStatus, result: Result, *, interrupted: bool = False) -> Run:
    error = reason(result) if status == "failed" else None
    error = INTERRUPTED if interrupted and error else error
    ended = {"status": status, "result": result, "error": error, "finished": time.time(), "question": None}
    return run.model_copy(update=ended)


def reason(result: Result) -> str | None:
    """The text of a failure, cut."""
    texts = (block.get("text") for block in orjson.loads(result.content))
    text: str | None = next((text for text in texts if text), None)
    return text if text is None or len(text) <= ERROR else text[: ERROR - 1] + "…"
