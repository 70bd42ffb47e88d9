"""The versions of pipelines, as callers see them: listed, described, compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..errors import Invalid, NotFound, ServerError
from ..models import Manifest, Noun, Source, State
from ..store.records import Record, Remarks, Stage
from .archive import Readiness
from .board import Board
from .comparing import Recommendation, SchemaChange, deltas, recommended, schema_changes, source_diff
from .keeper import Keeper

NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def version_number(text: str) -> int | None:
    """The number of a version as callers write it; None for what cannot be one."""
    return int(text) if NUMBER.fullmatch(text) else None


STATES: Mapping[State, Readiness] = MappingProxyType(
    {"running": "ready", "loading": "pending", "error": "failed"}
)
"""How a version in production is."""


class VersionStatus(Noun):
    """A version as callers see it."""

    pipeline: str
    number: int
    digest: str
    stage: Stage
    share: float | None = None
    """Of the calls, from 0 to 1, for the one in staging."""
    author: str | None
    """None if it is not saved."""
    created: float
    """Seconds since the epoch."""
    deployed: float | None = None
    """Since when it has been in production, if it is."""
    parent: int | None = None
    """The version that served when this one came."""
    description: str | None = None
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    unsaved: bool | None = None
    """True if it is gone when this server stops; nothing can be said about it, and no stage given to it."""


class Comparison(Noun):
    """Two versions side by side."""

    first: VersionStatus
    second: VersionStatus
    source: str
    """A unified diff; empty if only data files or nothing differ."""
    schemas: tuple[SchemaChange, ...] | None
    """None if one of them does not load any more."""
    deltas: Mapping[str, float]
    """How much each metric that both have rises from the first to the second."""
    recommendation: Recommendation


class Versions:
    """What is known of versions, and what people say about them."""

    def __init__(self, board: Board, keeper: Keeper) -> None:
        self._board = board
        self._keeper = keeper
        self._archive = keeper.archive

    async def list(self, name: str) -> tuple[VersionStatus, ...]:
        """Every version, newest first. Raises `NotFound` if there is none."""
        await self._loaded(name)
        found = [*map(self.status, await self._archive.records(name)), *self._unsaved(name)]
        if not found:
            raise NotFound(f"There is no pipeline named {name[:64]}.")
        return tuple(sorted(found, key=lambda each: each.number, reverse=True))

    async def all(self) -> tuple[VersionStatus, ...]:
        """Every version of every pipeline, by name, the newest first."""
        await self._board.until(lambda: self._board.started)
        unsaved = [each for name in self._board.snapshot.entries for each in self._unsaved(name)]
        found = [*map(self.status, await self._archive.everything()), *unsaved]
        return tuple(sorted(found, key=lambda each: (each.pipeline, -each.number)))

    async def readiness(self, versions: Iterable[VersionStatus]) -> Mapping[str, Readiness]:
        """How these are, by the name of their pipeline: of each pipeline one. Those in production say so."""
        entries = self._board.snapshot.entries
        found: dict[str, Readiness] = {}
        others: dict[str, str] = {}
        for each in versions:
            entry = entries.get(each.pipeline)
            if entry and entry.version and entry.version.number == each.number and entry.state in STATES:
                found[each.pipeline] = STATES[entry.state]
            else:
                others[each.pipeline] = each.digest
        return {**found, **await self._archive.readiness(others)}

    async def add(self, name: str, digest: str, author: str) -> VersionStatus:
        """See `Catalog.add_version`."""
        async with self._keeper.turn():
            number = await self._archive.add(name, digest, author, self._board.production(name))
        return await self.one(name, number)

    async def root(self, name: str, number: int) -> Path:
        """Where the files of a version lie. Raises `NotFound`, and `Broken` if they are gone."""
        await self._loaded(name)
        return (await self._archive.deployment(name, number)).root

    async def source(self, name: str, number: int) -> Source:
        """The files of a version. Raises `NotFound`, `Broken` and `Unavailable` if they are gone."""
        await self._loaded(name)
        return await self._archive.source(name, number)

    async def _loaded(self, name: str) -> None:
        """Wait until it has loaded for the first time, for only then its version has a number."""

        def known() -> bool:
            entry = self._board.snapshot.entries.get(name)
            return self._board.started and not (entry and entry.state == "loading" and entry.version is None)

        await self._board.until(known)

    def _unsaved(self, name: str) -> tuple[VersionStatus, ...]:
        """What serves, if it ends with this server."""
        entry = self._board.snapshot.entries.get(name)
        if entry is None or entry.kept or entry.version is None:
            return ()
        status = self.status(Record(entry.version, ""))
        return (status.model_copy(update={"author": None, "unsaved": True}),)

    async def one(self, name: str, number: int) -> VersionStatus:
        """A version. Raises `NotFound`."""
        return self.status(await self._archive.record(name, number))

    async def update(self, name: str, number: int, remarks: Remarks) -> VersionStatus:
        """Say something about a version. Raises `NotFound` and `Unavailable`."""
        await self._loaded(name)
        await self._archive.remark(name, number, remarks)
        return await self.one(name, number)

    async def compare(self, name: str, first: int, second: int) -> Comparison:
        """Put two versions side by side. Raises `NotFound`, `Invalid`, and `Broken` if a copy is gone."""
        if first == second:
            raise Invalid("Name two different versions to compare.")
        await self._loaded(name)
        one, other = [self.status(await self._archive.record(name, each)) for each in (first, second)]
        before, after = [await self._archive.source(name, each) for each in (first, second)]
        manifests = [await self._manifest(name, each) for each in (first, second)]
        changes = schema_changes(manifests[0], manifests[1]) if manifests[0] and manifests[1] else None
        rises = deltas(one.metrics, other.metrics)
        return Comparison(
            first=one,
            second=other,
            source=source_diff(before, after),
            schemas=changes,
            deltas=rises,
            recommendation=recommended((first, second), rises, changes or ()),
        )

    async def _manifest(self, name: str, number: int) -> Manifest | None:
        """What is known of a version, from serving it, from an earlier load, or from loading it now."""
        try:
            known = (await self._archive.deployment(name, number)).version
            if known and known.manifest:
                return known.manifest
            serving = await self._keeper.beside.serving(name, number)
        except ServerError:
            return None
        return serving.version.manifest if serving else None

    def status(self, record: Record) -> VersionStatus:
        """A version as callers see it."""
        version, deployed = record.version, None
        entry = self._board.snapshot.entries.get(version.pipeline)
        staging = self._keeper.wanted.staged.get(version.pipeline)
        stage: Stage = "archived" if record.archived else "none"
        if entry and version.number == self._board.production(version.pipeline):
            stage, staging = "production", None
            deployed = record.deployed or entry.since or version.created
        elif staging and staging.number == version.number:
            stage = "staging"
        return VersionStatus(
            pipeline=version.pipeline,
            number=version.number,
            digest=version.digest,
            stage=stage,
            share=staging.share if staging and stage == "staging" else None,
            author=record.author,
            created=version.created,
            deployed=deployed,
            parent=record.parent,
            description=record.description,
            tags=record.tags,
            metrics=record.metrics,
        )
