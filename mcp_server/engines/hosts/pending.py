"""A call in flight in a host: which pipeline, who hears of it, and whether it is to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...models import Answers
from ..ongoing import Ongoing

if TYPE_CHECKING:
    from .host import Host


class HostDied(Exception):
    """The process ended under a call or a load. `alone` if nothing else was going on in it."""

    def __init__(self, reason: str, alone: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alone = alone


class Pending:
    """The work of a run, as the front sees it (see `engines.ongoing.Work`)."""

    __slots__ = ("_host", "computed", "died", "number", "ongoing", "pipeline", "stopping")

    def __init__(
        self,
        host: Host,
        number: int,
        pipeline: str,
        ongoing: Ongoing,
        died: Callable[[HostDied], None],
    ) -> None:
        """`died` is told if the process ends under it."""
        self._host = host
        self.number = number
        self.pipeline = pipeline
        self.ongoing = ongoing
        self.died = died
        self.stopping = False
        self.computed = 0.0
        """Seconds."""

    def stop(self, *, late: bool = False) -> None:
        """See `Work.stop`."""
        self._host.stop(self, late=late)

    def answer(self, number: int, answers: Answers) -> None:
        """See `Work.answer`."""
        self._host.answer(self, number, answers)
