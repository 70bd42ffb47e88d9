"""Recorded component calls: values, and the async face of `step_queries`. They lie in the run tree.

A run stands at the head of a chain of calls in the order they ended; what a fork shares with its parent is
stored once. Where a run was forked or rewound stands a mark, with the inputs that were changed there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from ..models import Answers, Json, Recording, Run, StepDone
from .history import History


@dataclass(frozen=True)
class Recorded:
    """A call that is stored."""

    id: str
    parent: str | None
    """The call, or mark, before it."""
    run: str
    """The run that made it."""
    attempt: int
    """Which attempt of the run made it, from 1."""
    step: StepDone


@dataclass(frozen=True)
class Turn:
    """Where a run begins anew: behind the call `after`, with some inputs of the call `label` changed."""

    label: str
    after: str | None
    changes: Json


@dataclass(frozen=True)
class Line:
    """The way of a run from its first call to where it stands."""

    steps: tuple[Recorded, ...] = ()
    changes: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """By label, the inputs that were changed on the way."""
    left: tuple[Recorded, ...] = ()
    """What the run made and then was rewound over."""
    swept: tuple[str, ...] = ()
    """What retention took from the run: `steps`, of which there are none here then, or `artifacts`."""


class Steps:
    """Durable: what a method acknowledged survives `kill -9`. May raise `Unavailable`, as the store."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def line(self, run: Run) -> Line:
        """What is recorded of a run, without what its components got and gave."""
        return await self._history.ask(lambda connection: _queries().line(connection, run.id))

    async def whole(self, chosen: Sequence[Recorded]) -> tuple[StepDone, ...]:
        """The same calls with what they got and gave, as far as that was kept."""
        return await self._history.ask(lambda connection: _queries().whole(connection, chosen))

    async def fork(self, run: Run, recording: Recording, turn: Turn) -> Run | None:
        """Store a new run that begins there; or give the one that its caller forked with its key before.

        Raises `Conflict` if the key was used for something else.
        """
        change = self._history.changed(run, recording)
        return await self._history.change(lambda connection: _queries().fork(connection, run, change, turn))

    async def rewind(self, run: Run, turn: Turn) -> Run:
        """Make a run that has ended go on from there, here. Raises `Conflict` if it was changed meanwhile."""
        instance = self._history.instance
        return await self._history.change(
            lambda connection: _queries().rewind(connection, run, turn, instance)
        )

    async def answer(self, run: Run, number: int, answers: Answers, *, continues: bool) -> Run | None:
        """Answer all or a part of the question of a run that waits as a row; this server then has the run.

        What it does not ask is ignored. None if it waits on, for the rest. Raises `Conflict` if it does not
        wait for this any more. `continues` is as for runs, from here on.
        """
        instance = self._history.instance
        return await self._history.change(
            lambda connection: _parking().answer(connection, run, number, answers, instance, continues)
        )

    async def take(self, run: Run) -> Run:
        """The run that waits as a row is this server's. Raises `Conflict` if it does not wait any more."""
        instance = self._history.instance
        return await self._history.change(lambda connection: _parking().take(connection, run, instance))


def _parking() -> Any:
    return import_module(".parking", __package__)


def _queries() -> Any:
    return import_module(".step_queries", __package__)  # SQLAlchemy: not before the server answers
