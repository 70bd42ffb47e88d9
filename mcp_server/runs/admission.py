"""Whether a call begins a run: or an earlier one answers it, or there is no room for it."""

from __future__ import annotations

from collections.abc import Callable

from ..catalog import Serving
from ..limits.slots import Slots
from ..models import Manifest, Options, Recording, Run
from ..store.history import History
from .breakers import Breakers
from .cache import Cache


class Admission:
    """What comes before a run. Who is let in has a slot, or a place in the queue for one."""

    def __init__(
        self,
        breakers: Breakers,
        slots: Slots,
        history: History,
        cache: Cache,
        count: Callable[[str], None],
    ) -> None:
        """`count` hears of each pipeline whose call was answered with a kept result."""
        self._breakers = breakers
        self._slots = slots
        self._history = history
        self._cache = cache
        self._count = count
        self.leave = slots.drop

    async def known(self, entry: Serving, run: Run, recording: Recording, detached: bool) -> Run | None:
        """The earlier run that answers in place of this one; else this one may begin.

        It is durable then if it lasts. Raises `Overloaded`, `Conflict` for its key, and `Unavailable`.
        """
        self._breakers.check(run)
        lasts = detached or run.key is not None
        if not lasts and run.parent is None and run.verb == "call" and (kept := self._cache.find(entry, run)):
            self._history.hit(run.pipeline, run.version)
            self._count(run.pipeline)
            return kept
        manifest = entry.version.manifest
        if manifest is None or manifest.kind != "steps" or run.verb != "call":  # each step takes its own turn
            self._slots.reserve(run, entry.options, manifest)
        known = run
        try:
            known = await self._claimed(run, recording) if lasts else None
        finally:
            if known is not None:
                self.leave(run)
        return known

    def admit(self, run: Run, options: Options, manifest: Manifest | None) -> None:
        """Let a plain run begin. Raises `Overloaded`, and `Unavailable` if its pipeline only fails."""
        self._breakers.check(run)
        self._slots.reserve(run, options, manifest)

    async def _claimed(self, run: Run, recording: Recording) -> Run | None:
        if run.key is not None:
            return await self._history.claim(run, recording)
        await self._history.commit(run, recording)
        return None
