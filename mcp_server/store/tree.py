"""The run tree: what lasts of step-wise runs. Values, and the async face of `tree_queries`.

A run stands at the head of a tree of executions; its path leads from the first step there. Nothing is
deleted: regenerating adds a sibling, rewinding moves the head. A change names the revision of the run it
was decided upon, a write the attempt it belongs to; both are refused if they are no longer true.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from ..errors import Conflict
from ..models import Json, Response

if TYPE_CHECKING:
    from sqlalchemy import Connection

T = TypeVar("T")

Watch = Callable[[str], object]
"""Told the id of a run whose status is another one now."""

Progressing = Literal["running", "done", "failed"]
WalkStatus = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class Kept:
    """A response that is stored. `time` is when it came, in seconds since the epoch."""

    id: str
    """Unique in its run: `resp-001`, …; `merged-001` for one that a model merged from several."""
    response: Response
    time: float

    @property
    def is_merged(self) -> bool:
        """True if it was made of others that were selected."""
        return self.id.startswith("merged-")


@dataclass(frozen=True)
class Execution:
    """One execution of a step. Times are seconds since the epoch."""

    id: str
    parent: str | None
    """The execution before it; None for the first step."""
    number: int
    """The place of its step, from 0."""
    step: str
    status: Progressing
    attempt: str
    """The token that a write must name."""
    instance: str
    """The server that executes it."""
    started: float
    finished: float | None = None
    error: str | None = None
    selected: tuple[str, ...] = ()
    """Ids of the selected responses; empty until somebody chose."""
    merge: str | None = None
    """How the selected responses were to be merged."""
    feedback: str | None = None
    """What was said with the selection; meant for the next step."""
    inputs: Json = field(default_factory=dict[str, Any])
    """`models`, `feedback` (given to this execution), `first` (the number of its first response), perhaps
    `touched` (when it was chosen from or rewound to) and `branch` (the name of the fork that begins here)."""
    responses: tuple[Kept, ...] = ()

    @property
    def output(self) -> str:
        """The text that later steps get: what was merged, else the selected texts joined."""
        merged = [kept.response.text or "" for kept in self.responses if kept.is_merged]
        chosen = {kept.id: kept.response.text or "" for kept in self.responses}
        return merged[-1] if merged and self.merge else "\n\n".join(chosen[each] for each in self.selected)


@dataclass(frozen=True)
class Walk:
    """A step-wise run: where it stands, and the way there."""

    id: str
    pipeline: str
    version: int
    digest: str
    caller: str
    origin: str
    status: WalkStatus
    inputs: Json
    timeout: float
    """Seconds one step may take."""
    started: float
    finished: float | None = None
    error: str | None = None
    parent: str | None = None
    """The run it was forked from, at the step `branch`."""
    branch: str | None = None
    revision: int = 0
    """Rises with every change of the run."""
    path: tuple[Execution, ...] = ()
    """From the first step to the head."""

    @property
    def head(self) -> Execution | None:
        """Where it stands; None before its first step."""
        return self.path[-1] if self.path else None

    @property
    def position(self) -> int:
        """The place of the current step; the number of steps once all are done."""
        if self.head is None:
            return 0
        return self.head.number + 1 if self.head.selected else self.head.number

    @property
    def chosen(self) -> tuple[Execution, ...]:
        """The executions that somebody has selected responses of."""
        return tuple(each for each in self.path if each.selected)

    @property
    def changed(self) -> float:
        """When something happened last, in seconds since the epoch."""
        times = [max(each.finished or each.started, each.inputs.get("touched", 0.0)) for each in self.path]
        return max([self.started, *times])

    def at(self, path: Sequence[Execution], status: WalkStatus, **more: Any) -> Walk:
        """The same run, standing elsewhere."""
        return replace(self, path=tuple(path), status=status, **more)


class Changed(Conflict):
    """Somebody else changed the run since it was read."""


class Transactions(Protocol):
    """What a tree needs of a store."""

    @property
    def instance(self) -> str:
        """The id of this server among those on the same store."""
        ...

    async def change(self, work: Callable[[Connection], T]) -> T:
        """Do it in a transaction; it is durable when this returns. Raises what it raises."""
        ...

    async def ask(self, work: Callable[[Connection], T]) -> T:
        """Give what it reads."""
        ...


class Tree:
    """Durable: what a method acknowledged survives `kill -9`. May raise `Unavailable`, as the store."""

    def __init__(self, store: Transactions) -> None:
        self._store = store
        self.turned: Watch = untold
        """Told the id of a run that this server moved."""

    @property
    def instance(self) -> str:
        """The id of this server, for the executions it begins."""
        return self._store.instance

    async def create(self, walk: Walk, key: str | None = None, asked: Sequence[Any] = ()) -> Walk:
        """Store a new run with its whole path; or give the one that its caller made with that `key` before.

        `asked` is what it was made by. Raises `Conflict` if the key was used for something else.
        """
        return await self._store.change(lambda connection: _queries().create(connection, walk, key, asked))

    async def find(self, identity: str) -> Walk | None:
        """The run of that id as it is now; None if there is no such step-wise run."""
        return await self._store.ask(lambda connection: _queries().find(connection, identity))

    async def history(self, identity: str) -> tuple[Execution, ...]:
        """Every execution of the run, also those that its path left, in the order they began."""
        return await self._store.ask(lambda connection: _queries().history(connection, identity))

    async def change(self, walk: Walk) -> Walk:
        """Make the run stand as `walk` says; executions in its path that are new are stored.

        Of stored ones only the last may have changed. Raises `Changed` if the run's revision is no longer
        that of `walk`.
        """
        moved = await self._store.change(lambda connection: _queries().change(connection, walk))
        self.turned(walk.id)
        return moved

    async def put(self, execution: Execution, kept: Kept) -> None:
        """Store a response. Raises `Conflict` if the execution is no longer this attempt's."""
        await self._store.change(lambda connection: _queries().put(connection, execution, kept))

    async def end(self, execution: Execution, status: Progressing, error: str | None = None) -> None:
        """End an execution; its run waits, or has failed. Raises `Conflict` as `put`."""
        work = partial(_queries().end, execution=execution, status=status, error=error)
        for run in await self._store.change(work):
            self.turned(run)

    async def claim(self, attempt: str, going: Sequence[str]) -> tuple[str, ...]:
        """Take over the executions of servers that are gone, and those of this one that are not `going` on.

        Gives the ids of the runs that stand at them.
        """
        return await self._store.change(
            lambda connection: _queries().claim(connection, attempt, self.instance, going)
        )


def untold(run: str) -> None:
    """A watch that does not look."""


def _queries() -> Any:
    return import_module(".tree_queries", __package__)  # SQLAlchemy: not before the server answers
