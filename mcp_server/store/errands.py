"""What servers on one store ask of each other: to cancel a run, to answer it. Values, and their rows' door.

Light: the statements are in `errand_rows`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from ..models import Answers
from .history import History


@dataclass(frozen=True)
class Errand:
    """What the server that has the run is to do with it. Ids sort by time."""

    id: str
    run: str
    number: int | None = None
    """The question that is answered; None if the run is to be cancelled."""
    answers: Answers | None = None
    """All of the answers to it, or a part."""


class Errands:
    """All may raise `Unavailable`. Those of a server that is gone are gone with it."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def put(self, errand: Errand) -> None:
        """Ask for it; durable when this returns."""
        asker = self._history.instance
        await self._history.change(lambda connection: _rows().put(connection, asker, errand))

    async def mine(self) -> Sequence[Errand]:
        """What others ask of this server, the oldest first."""
        owner = self._history.instance
        return await self._history.ask(lambda connection: _rows().of(connection, owner))

    async def remove(self, errand: Errand) -> bool:
        """It was done, or is not wanted any more; false if it was removed before."""
        return await self._history.change(lambda connection: _rows().remove(connection, errand))


def _rows() -> ModuleType:
    """Where the statements are; imported in a thread that has a connection, not before."""
    return import_module(f"{__package__}.errand_rows")
