"""What is served now: entries, counters, and everyone who waits for them to change. In memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from weakref import WeakSet

import anyio

from ..errors import NotFound
from ..models import Status
from ..settings import Settings
from ..store.records import Staging
from .entries import Entry, Snapshot
from .isolating import isolation, warnings


class Subscription:
    """Tells new revisions. A slow reader gets only the newest; it holds up nobody.

    An async iterator of revisions, from the next change on. It ends when it is no longer referenced;
    `async with` is accepted too.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._seen = board.snapshot.revision
        self._changed = anyio.Event()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._board.leave(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> int:
        while self._board.snapshot.revision == self._seen:
            await self._changed.wait()
            self._changed = anyio.Event()
        self._seen = self._board.snapshot.revision
        return self._seen

    def wake(self) -> None:
        """Called by the board when there is a new revision."""
        self._changed.set()


class Board:
    """The present snapshot, swapped as a whole. Every method but `until` is immediate."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.snapshot = Snapshot()
        self.started = False
        self._moved = anyio.Event()
        self._readers: WeakSet[Subscription] = WeakSet()
        self._calls: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._shown: object = ([], {})
        self.resting: Callable[[str], str | None] = lambda name: None
        """Why a pipeline that serves is not called for a while."""
        self.replicas: Callable[[str, str], Mapping[str, int] | None] = lambda name, digest: None
        """As `Engine.replicas`."""

    def show(self, entries: Iterable[Entry], staged: Mapping[str, Staging]) -> None:
        """These are all entries now, and what is in staging."""
        self.started = True
        ordered = sorted(entries, key=lambda each: each.name)
        self._swap({each.name: each for each in ordered}, staged)

    def put(self, entry: Entry) -> None:
        """One entry changed; it was there before."""
        self._swap({**self.snapshot.entries, entry.name: entry}, self.snapshot.staged)

    def stage(self, staged: Mapping[str, Staging]) -> None:
        """This is in staging now."""
        self._swap(self.snapshot.entries, staged)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; it is asked after every change."""
        while not condition():
            await self._moved.wait()

    def subscribe(self) -> Subscription:
        """Hear of new revisions from now on."""
        reader = Subscription(self)
        self._readers.add(reader)
        return reader

    def leave(self, reader: Subscription) -> None:
        """Tell this reader no more."""
        self._readers.discard(reader)

    def count(self, name: str, *, failed: bool) -> None:
        """A call ended."""
        self._calls[name] += 1
        self._errors[name] += failed

    def production(self, name: str) -> int | None:
        """The version that has the stage production, whether it loads or not."""
        entry = self.snapshot.entries.get(name)
        if entry is None or entry.state == "undeployed" or entry.version is None:
            return None
        return entry.version.number

    def status(self, name: str) -> Status:
        """How one pipeline is doing. Raises `NotFound`."""
        if (entry := self.snapshot.entries.get(name)) is None:
            raise NotFound(f"There is no pipeline named {name[:64]}.")
        return self._status(entry)

    def statuses(self) -> tuple[Status, ...]:
        """How every pipeline is doing, sorted by name."""
        return tuple(map(self._status, self.snapshot.entries.values()))

    def _status(self, entry: Entry) -> Status:
        staging = self.snapshot.staged.get(entry.name)
        status = entry.status(self._calls[entry.name], self._errors[entry.name], staging)
        resting = self.resting(entry.name)
        further = self.snapshot.shadowed.get(entry.name, ()) + ((resting,) if resting else ())
        level = isolation(entry.deployment, self._settings)
        unwalled = warnings(entry.deployment, level, self._settings)
        told = status.warnings + further + unwalled
        replicas = self.replicas(entry.name, status.digest) if status.digest else None
        return status.model_copy(update={"isolation": level, "warnings": told, "replicas": replicas})

    def _swap(self, entries: Mapping[str, Entry], staged: Mapping[str, Staging]) -> None:
        every = ((each.listed, each.published) for each in entries.values())
        shown = [(listed, published) for listed, published in every if listed or any(published)]
        changed = (shown, dict(staged)) != self._shown
        self._shown = (shown, dict(staged))
        revision = self.snapshot.revision + changed
        tools = tuple(listed[0] for listed, _ in shown if listed)
        shown_entries = MappingProxyType(dict(entries))
        self.snapshot = Snapshot(revision, shown_entries, tools, MappingProxyType(dict(staged)))
        moved, self._moved = self._moved, anyio.Event()
        moved.set()
        for reader in list(self._readers) if changed else ():
            reader.wake()
