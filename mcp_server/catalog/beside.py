"""Versions that serve beside production, each in a host of its own, loaded when somebody calls them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import anyio

from ..engines import Engine, Outcome
from ..errors import Unavailable
from ..models import Manifest, Problem
from ..settings import Settings
from .archive import Archive
from .deployments import Deployment, Deployments, Wanted
from .entries import Entry, Serving, entry
from .grouping import alone

RETRY = 30.0
"""Seconds for which a version that did not load is not tried again."""
Key = tuple[str, int]
"""A pipeline's name and the number of a version."""


@dataclass
class Held:
    """A version that is loaded, or being loaded."""

    loading: asyncio.Task[Entry]
    began: float
    used: float
    staged: bool = False
    """True if it was in staging once: it goes when it is displaced there."""


class Beside:
    """Keeps what is called loaded. A version that is displaced, promoted or idle is let go."""

    def __init__(self, engine: Engine, settings: Settings, archive: Archive) -> None:
        self._engine = engine
        self._settings = settings
        self._archive = archive
        self._held: dict[Key, Held] = {}

    async def serving(self, name: str, number: int) -> Serving | None:
        """The version, ready to be called. None if it was displaced while it loaded: choose again.

        Raises `NotFound` if there is no such version, `Broken` and `Unavailable` if it does not load.
        """
        held = self._held.get((name, number))
        now = time.monotonic()
        if held is None or _stale(held):
            held = self._held[name, number] = Held(asyncio.create_task(self._load(name, number)), now, now)
            held.loading.add_done_callback(_failed)  # nobody may be left to ask how it ended
        held.used = now
        await asyncio.wait([held.loading])
        if held.loading.cancelled():
            return None
        loaded = held.loading.result()
        assert isinstance(loaded, Serving), "what is loaded has its version"
        return loaded

    def settle(self, wanted: Wanted, target: Deployments) -> None:
        """This is wanted and in production now: let go of what that displaces."""
        for name, number in list(self._held):
            held, serving, staged = self._held[name, number], target.get(name), wanted.staged.get(name)
            in_staging = staged is not None and staged.number == number
            if serving and serving.version and serving.version.number == number:
                self._drop((name, number))
            elif name not in wanted.deployments or (held.staged and not in_staging):
                self.release(name, number)
            held.staged = held.staged or in_staging

    def sweep(self) -> None:
        """Let go of what nobody called for a while."""
        before = time.monotonic() - self._settings.idle_timeout
        for (name, number), held in list(self._held.items()):
            if held.used < before and held.loading.done():
                self.release(name, number)

    def release(self, name: str, number: int) -> None:
        """Let go of it; its calls in flight end."""
        loaded = self._drop((name, number))
        if loaded is not None:
            self._engine.release(name, loaded.deployment.digest)

    async def close(self) -> None:
        """Stop loading; the engine ends what was loaded."""
        tasks = [held.loading for held in self._held.values()]
        self._held.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, key: Key) -> Entry | None:
        """Forget it. What was loaded, None if it was not; what is still loading is stopped."""
        held = self._held.pop(key, None)
        if held is None or held.loading.cancel() or _failed(held.loading):
            return None
        return held.loading.result()

    async def _load(self, name: str, number: int) -> Entry:
        deployment = await self._archive.deployment(name, number)
        generation = self._engine.open(alone(deployment, self._settings))
        try:
            manifest = _manifest(deployment, (await generation.settled())[name])
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._engine.discard(generation)
            raise
        self._engine.adopt(generation, lambda _, outcome: self._hear((name, number), outcome))
        return entry(deployment.with_manifest(manifest), "running", since=time.time())

    def _hear(self, key: Key, outcome: Outcome) -> None:
        """It came up, again perhaps, or went down for good: then it is loaded anew by the next call."""
        if isinstance(outcome, Problem):
            self.release(*key)


def _manifest(deployment: Deployment, outcome: Outcome) -> Manifest:
    if isinstance(outcome, Problem):
        assert deployment.version is not None
        raise Unavailable(
            f"Version {deployment.version.number} of {deployment.name} does not load: {outcome}"
        )
    return outcome


def _stale(held: Held) -> bool:
    """True if loading it failed, and may be tried again."""
    if not held.loading.done() or not _failed(held.loading):
        return False
    lasting = not held.loading.cancelled() and isinstance(held.loading.exception(), Unavailable)
    return not lasting or time.monotonic() - held.began > RETRY


def _failed(loading: asyncio.Task[Entry]) -> bool:
    return loading.cancelled() or loading.exception() is not None
