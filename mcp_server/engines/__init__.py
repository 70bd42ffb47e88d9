"""Where runs happen. Contracts of the family.

`Engine` is what the floors above use. It keeps generations: a generation holds the loaded pipelines of one
group and never gains or changes one. Deploy, reload and recovery open a new generation, wait until it is
settled, then adopt it (the former one drains) or discard it. A generation may be adopted before it is
settled: calls then wait for their own pipeline.

`Workshop` is what a member of the family is: `local` loads into this process, `hosts` into worker processes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from ..limits.deadlines import Deadline, Deadlines
from ..limits.slots import Slots
from ..models import Emit, Group, Manifest, Member, Problem, Result, Run
from .ongoing import Ongoing, Tell

Outcome = Manifest | Problem
Report = Callable[[str, Outcome], None]
"""Told (pipeline name, outcome) whenever an adopted pipeline came up, or went down for good."""
Locate = Callable[[Member], Awaitable[Path | None]]
"""Asked where a member's source lies now, before it is loaded again; None if nowhere."""


async def stays(member: Member) -> Path | None:
    """A `Locate` for sources that do not move or change."""
    return member.root


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

    def adopt(self, report: Report, locate: Locate) -> None:
        """Serve from now on: report what is known and what will be, replace what dies.

        What is loaded again is loaded from where `locate` says that its source lies then.
        """
        ...

    def begin(self, run: Run, emit: Emit, tell: Tell, deadlines: Deadlines, slots: Slots) -> Ongoing | None:
        """As `Runner.begin`; its turn has come."""
        ...

    async def run(self, run: Run, emit: Emit, clock: Deadline, slots: Slots) -> Result:
        """Run a member to the end, or until cancelled, which stops the work; first wait for its turn.

        Whatever the pipeline does comes back as a result with `is_error`. `clock` says
        when the run is out of time; whoever cancels because of it has let it expire.
        """
        ...

    def replicas(self, name: str) -> Mapping[str, int] | None:
        """Of a pipeline that is in several hosts: how many are `wanted`, and how many are `serving`."""
        ...

    async def answers(self) -> bool:
        """A round trip to wherever its pipelines are: true once all of it answered. May wait for ever."""
        ...

    async def release(self, name: str) -> None:
        """Let the calls of one pipeline end, then close it."""
        ...

    async def close(self) -> None:
        """Let all calls end, then close every pipeline and end what was started for them."""
        ...


class Workshop(Protocol):
    """Builds generations of one kind."""

    def open(self, group: Group) -> Generation:
        """Begin to load a generation of `group`; returns at once. Call it on the event loop."""
        ...

    async def shut(self) -> None:
        """End at once whatever is left: processes, threads that still listen."""
        ...


class Runner(Protocol):
    """What can run a call."""

    def begin(self, run: Run, emit: Emit, tell: Tell) -> Ongoing | None:
        """Begin a run that holds its slot if nothing has to be waited for; else None, and nothing began.

        Told once is the result, whatever the pipeline does; or what `emit` raised. Stopping it, which tells
        nobody, gives the slot back.
        """
        ...

    def run(self, run: Run, emit: Emit) -> Awaitable[Result]:
        """See `Engine.run`."""
        ...


class Engine(Runner, Protocol):
    """Runs pipelines, and keeps what it adopted alive."""

    async def __aenter__(self) -> Engine: ...

    async def __aexit__(self, *error: object) -> None:
        """Drain within bounds, close every pipeline, end every process."""
        ...

    def open(self, group: Group) -> Generation:
        """Begin to load a generation of `group` beside the serving one; returns at once."""
        ...

    def adopt(self, generation: Generation, report: Report, locate: Locate = stays) -> None:
        """Make it the one that answers for its group; the former one drains and closes.

        From now on the engine replaces its host when that dies, with the sources where `locate` finds them.
        `report` hears each member's outcome, also those already known, and again after a recovery. A member
        that another group held with the same digest moves here. Several digests of a name may serve at once;
        those that only the former generation held still take runs for a moment, so that no call is lost
        between choosing its version and beginning.
        """
        ...

    async def discard(self, generation: Generation) -> None:
        """Close a generation that was never adopted."""
        ...

    def release(self, name: str, digest: str) -> None:
        """Nobody chooses this version any more: let its calls end, close it, end its host if now empty.

        For a moment it still takes the runs that have chosen it.
        """
        ...

    async def answering(self, within: float) -> Mapping[str, bool]:
        """Which groups answer a round trip within so many seconds, by the group's name."""
        ...

    def replicas(self, name: str, digest: str) -> Mapping[str, int] | None:
        """See `Generation.replicas`; None for what does not serve, too."""
        ...

    async def run(self, run: Run, emit: Emit) -> Result:
        """Run to the end, or to `run.timeout`; at most one second later the answer is there.

        Whatever the pipeline does comes back as a result with `is_error`. Raises `NotFound` if no adopted
        generation holds `run.pipeline` with `run.digest`. Cancelling this call stops the work.
        """
        ...
