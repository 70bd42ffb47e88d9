"""How long a request waits for its run, and what it is answered if the run takes longer."""

from __future__ import annotations

from dataclasses import dataclass

import mcp_types as types
from mcp.shared.exceptions import MCPError

from ...models import Run, TaskUse
from .eras import Request, is_modern
from .session_tasks import wants_task
from .tasks import knows_tasks, missing_tasks

GRACE = 0.8
"""Seconds a run may take before it becomes a task: quick ones are answered at once, without a poll."""


@dataclass(frozen=True)
class Patience:
    """The seconds a request waits, None until the run ends; then its client gets a task, or the run's id."""

    seconds: float | None = None
    task: bool = False

    @property
    def at_once(self) -> bool:
        """True if it does not wait at all."""
        return self.seconds == 0.0


EVER = Patience()


def patience_of(
    request: Request, params: types.CallToolRequestParams, use: TaskUse, deadline: float | None
) -> Patience:
    """What is right for this client: a short wait and a task if it knows tasks, else the deadline.

    A progress token does not move the deadline: only some of the clients that send one reset their clock on
    progress, and none says so.

    Raises `MCPError` for a pipeline that runs as a task only if the client knows none.
    """
    if wants_task(request, params):
        return Patience(0.0, task=True)
    if knows_tasks(request):
        return Patience(GRACE if use == "auto" else 0.0, task=True)
    if use == "required":
        text = "This pipeline runs as a task only; start_run begins a run without one."
        raise missing_tasks(text) if is_modern(request) else MCPError(types.METHOD_NOT_FOUND, text)
    return Patience(deadline)


def handed(run: Run) -> str:
    """What a caller reads whose run outlasted its request."""
    return (
        f"The pipeline {run.pipeline} is still at work, this is no failure. Run {run.id} goes on by itself. "
        "Call get_run with its run_id for the result, or cancel_run to stop it; calling the pipeline again "
        "would begin another run."
    )
