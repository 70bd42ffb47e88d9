"""Where runs happen. Contract of the family; `local` is this process, `hosts` are worker processes.

A generation holds the loaded pipelines of one group and never gains or changes one. Deploy, reload and
recovery open a new generation, wait until it is settled, then adopt it (the former one drains) or
discard it. A generation may be adopted before it is settled: calls then wait for their own pipeline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..models import Emit, Group, Manifest, Problem, Result, Run

Outcome = Manifest | Problem
Report = Callable[[str, Outcome], None]
"""Told (pipeline name, outcome) whenever an adopted pipeline came up, or went down for good."""


class Generation(Protocol):
    """A group being loaded, or loaded."""

    @property
    def group(self) -> Group: ...

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """What is known so far, by pipeline name."""
        ...

    async def settled(self) -> Mapping[str, Outcome]:
        """Wait until every member has loaded or failed. Never raises for a pipeline's fault."""
        ...


class Engine(Protocol):
    """Runs pipelines, and keeps what it adopted alive."""

    async def __aenter__(self) -> Engine: ...

    async def __aexit__(self, *error: object) -> None:
        """Drain, close every pipeline, end every process."""
        ...

    def open(self, group: Group) -> Generation:
        """Begin to load a generation of `group` beside the serving one; returns at once."""
        ...

    def adopt(self, generation: Generation, report: Report) -> None:
        """Make it the one that answers for its group; the former one drains and closes.

        From now on the engine replaces its host when that dies. `report` hears each member's outcome,
        also those already known, and again after a recovery.
        """
        ...

    async def discard(self, generation: Generation) -> None:
        """Close a generation that was never adopted."""
        ...

    def release(self, name: str) -> None:
        """The pipeline was undeployed: let its calls end, close it, end its host if that is now empty."""
        ...

    async def run(self, run: Run, emit: Emit) -> Result:
        """Run to the end, or to `run.timeout`; at most one second later the answer is there.

        Whatever the pipeline does comes back as a result with `is_error`. Raises `NotFound` if no adopted
        generation holds `run.pipeline`. Cancelling this call stops the work.
        """
        ...
