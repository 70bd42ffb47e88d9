"""The catalog: what is deployed, as callers see it, and the changes they ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import anyio
from anyio import to_thread

from ..engines import Engine
from ..errors import Broken, Conflict, Invalid, NotFound, Unavailable
from ..models import Caller, Provenance, Source, Status
from ..pipelines.registered import registered
from ..settings import Settings
from ..store.records import NOTHING, Remarks, Stage
from . import names
from .archive import Readiness
from .background import Background
from .board import Board, Subscription
from .choosing import Choosing
from .deployments import Deployment
from .entries import Entry, Serving, Snapshot, serving
from .folder import read
from .isolating import provenance
from .keeper import Keeper, Told
from .stages import Stages
from .uploads import received
from .versions import Comparison, Versions, VersionStatus

__all__ = ["Catalog", "Comparison", "Entry", "Serving", "Snapshot", "Stage", "Subscription", "VersionStatus"]


class Catalog:
    """What is deployed. `async with` opens it and returns at once; it loads in the background.

    Reading is immediate and sees one moment. Changes are taken one at a time; each is all or nothing.
    """

    def __init__(self, settings: Settings, engine: Engine, told: Told = lambda before, after: None) -> None:
        """`told` hears of each change that is made here: the catalog before and after it."""
        self._board = Board(settings)
        self._provenance: Provenance = provenance(settings)
        self._board.replicas = engine.replicas
        self._keeper = Keeper(settings, engine, self._board, told)
        self._versions = Versions(self._board, self._keeper)
        self._stages = Stages(self._board, self._keeper)
        self._choosing = Choosing(self._board, self._keeper.beside)
        self._background = Background(settings, self._board, self._keeper)
        self._opened = False

    async def __aenter__(self) -> Catalog:
        self._opened = True
        await self._background.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._background.__aexit__(*error)

    def warn_of(self, resting: Callable[[str], str | None]) -> None:
        """Say in statuses why a pipeline is not called for a while, as `resting` has it by its name."""
        self._board.resting = resting

    def register(self, name: str, pipeline: object) -> None:
        """Serve this object from the start; see `Server.register`."""
        names.check(name)
        if self._opened or name in self._keeper.registered:
            raise Conflict(f"{name}: register each name once, before the server opens.")
        self._keeper.registered[name] = registered(name, pipeline)

    @property
    def snapshot(self) -> Snapshot:
        """Everything as it is now; empty until the folder was read."""
        return self._board.snapshot

    @property
    def loaded(self) -> bool:
        """True once the folder was read and no pipeline is at its first load."""
        return self._board.started and all(
            entry.state != "loading" for entry in self.snapshot.entries.values()
        )

    @property
    def known(self) -> bool:
        """True once every tool is known."""
        return self._board.started and not any(map(_unknown, self.snapshot.entries.values()))

    async def ready(self, within: float = 8.0, *, tools: bool = True) -> Snapshot:
        """Wait until every tool is known, at most `within` seconds; with cached schemas that is at once.

        Without `tools` until it is known which pipelines there are.
        """
        with anyio.move_on_after(within):
            await self._board.until(lambda: self.known if tools else self._board.started)
        return self.snapshot

    async def find(
        self,
        name: str,
        version: int | None = None,
        stage: Stage | None = None,
        caller: Caller | None = None,
        resting: bool = False,
    ) -> Serving:
        """The pipeline to call, in the version or stage that is named. Waits while it loads first.

        With neither it is the one in production; or, for a share of the callers, the one in staging. Without
        a caller it is always the former. With `resting` a version need not be deployed. Raises `NotFound` for
        what is not there or was undeployed, `Unavailable` with the reason for what does not load, `Invalid`.
        """
        if beside := await self._choosing.chosen(name, version, stage, caller, resting):
            return beside
        return serving(self.snapshot.entries.get(name)) or await self._find_later(name)

    async def deploy(
        self,
        name: str,
        files: Mapping[str, str | bytes],
        *,
        overwrite: bool = False,
        keep: bool = True,
        author: str = "anyone",
    ) -> Status:
        """Load these files, and serve them under `name` from now on; on any error all stays as it was.

        Without files, what was undeployed (or failed) is deployed again: the folder's pipeline, else what was
        stored last. With `keep` the files and the fact survive a restart; without, they end with the server.
        Raises `Invalid` for a name, path or size, `Broken` for files that do not load, `Conflict` for a name
        that is taken unless `overwrite`, `Unavailable` when it cannot be stored.
        """
        names.check(name)
        source = await to_thread.run_sync(received, name, files) if files else None
        async with self._keeper.turn():
            entry = self.snapshot.entries.get(name)
            taken = entry is not None and entry.state != "undeployed"
            if source is None:
                await self._keeper.serve(await self._again(name, entry), author)
            elif taken and not overwrite:
                raise Conflict(
                    f"There already is a pipeline named {name}; pass overwrite=true to replace it."
                )
            else:
                await self._keeper.serve(
                    await self._keeper.ledger.placed(source, self._provenance, keep=keep), author
                )
            return self.status(name)

    async def undeploy(self, name: str) -> Status:
        """Serve it no more, on every server of this state folder, until it is deployed again.

        Files of the user's folder stay. Calls in flight end. Undeploying twice is no error. Raises
        `NotFound`, and `Unavailable` when it cannot be remembered.
        """
        async with self._keeper.turn():
            before = self.status(name)
            await self._keeper.rest(name)
            entry = self.snapshot.entries.get(name)
            gone = before.model_copy(update={"status": "undeployed", "version": None, "digest": None})
            return self.status(name) if entry else gone

    async def versions(self, name: str) -> tuple[VersionStatus, ...]:
        """Every version of a pipeline, newest first, with stage and lineage. Raises `NotFound`."""
        return await self._versions.list(name)

    async def all_versions(self) -> tuple[VersionStatus, ...]:
        """Every version of every pipeline, by name, the newest first."""
        return await self._versions.all()

    async def version(self, name: str, version: int) -> VersionStatus:
        """One version. Raises `NotFound`."""
        for each in await self._versions.list(name):
            if each.number == version:
                return each
        raise NotFound(f"{name[:64]} has no version {version}.")

    async def readiness(self, versions: Iterable[VersionStatus]) -> Mapping[str, Readiness]:
        """Whether these can be called, by the name of their pipeline: of each pipeline one."""
        return await self._versions.readiness(versions)

    async def add_version(self, name: str, digest: str, *, author: str = "anyone") -> VersionStatus:
        """A version of `name` made of a source that the server keeps, by its digest; it does not serve yet.

        The same source is the same version again. Raises `Invalid` for a name or a source that cannot be
        one, `NotFound` for an unknown digest, `Unavailable` when it cannot be stored.
        """
        names.check(name)
        return await self._versions.add(name, digest, author)

    async def version_root(self, name: str, version: int) -> Path:
        """The folder with the files of a version. Raises `NotFound`, and `Broken` if they are gone."""
        return await self._versions.root(name, version)

    async def version_source(self, name: str, version: int) -> Source:
        """The files of a version. Raises `NotFound`, `Broken` and `Unavailable` if they are gone."""
        return await self._versions.source(name, version)

    async def update_version(
        self,
        name: str,
        version: int,
        *,
        tags: Mapping[str, str | None] = NOTHING,
        description: str | None = None,
        metrics: Mapping[str, float | None] = NOTHING,
    ) -> VersionStatus:
        """Say something about a version; what is not given stays, a tag or metric of None is taken away.

        Raises `NotFound`, and `Unavailable` when it cannot be remembered.
        """
        return await self._versions.update(name, version, Remarks(description, tags, metrics))

    async def delete_version(self, name: str, version: int) -> None:
        """Forget a version; its number is not given again, its runs stay.

        Raises `NotFound`, `Conflict` for the one in production, `Unavailable` when it cannot be remembered.
        """
        await self._stages.delete(name, version)

    async def set_stage(
        self,
        name: str,
        version: int,
        stage: Stage,
        *,
        archive_existing: bool = False,
        share: float | None = None,
    ) -> VersionStatus:
        """Promote, roll back or archive a version; loses no call, and is all or nothing.

        In production it is pinned: it serves whatever the folder holds, until another one is promoted or
        deployed; taking the stage away (`none`, `archived`) gives production back to the folder. In staging
        it gets `share` of the calls, from 0 to 1. The version it displaces goes to none, or to archived.
        Raises `NotFound`, `Broken` or `Unavailable` if it does not load, `Conflict` if nothing would be in
        production then, `Invalid` for a share that makes no sense.
        """
        await self._stages.set_stage(name, version, stage, archive_existing=archive_existing, share=share)
        return await self._versions.one(name, version)

    async def compare_versions(self, name: str, first: int, second: int) -> Comparison:
        """Two versions side by side: source, schemas, metrics, and which to use. Raises `NotFound`."""
        return await self._versions.compare(name, first, second)

    def status(self, name: str) -> Status:
        """How a pipeline is doing; undeployed and broken ones too. Raises `NotFound`."""
        return self._board.status(name)

    def statuses(self) -> tuple[Status, ...]:
        """How every pipeline is doing, sorted by name; undeployed and broken ones too."""
        return self._board.statuses()

    async def source(self, name: str) -> Source:
        """The files of the version that serves. Raises as `find`, and `Unavailable` if they are gone."""
        deployment = (await self.find(name)).deployment
        placed = await self._keeper.ledger.in_place([deployment])
        try:
            return await to_thread.run_sync(read, name, placed.get(name, deployment).root)
        except (Invalid, OSError):
            raise Unavailable(f"The files of {name} cannot be read any more.") from None

    def count(self, name: str, *, failed: bool) -> None:
        """A call of this pipeline ended."""
        self._board.count(name, failed=failed)

    def subscribe(self) -> Subscription:
        """An async iterator of revisions, one whenever the listed tools changed. A slow reader skips some."""
        return self._board.subscribe()

    async def _find_later(self, name: str) -> Serving:
        def settled() -> bool:
            entry = self.snapshot.entries.get(name)
            return self._board.started and not (entry and _unknown(entry))

        await self._board.until(settled)
        entry = self.snapshot.entries.get(name)
        if isinstance(entry, Serving) and entry.serves:
            return entry
        if entry is None:
            raise NotFound(f"There is no pipeline named {name[:64]}.")
        if entry.state == "undeployed":
            raise NotFound(f"{name} is undeployed; deploy it again to call it.")
        raise Unavailable(f"{name} does not serve: {entry.problem}")

    async def _again(self, name: str, entry: Entry | None) -> Deployment:
        """What to deploy when no files were given."""
        if entry is not None and entry.state not in ("undeployed", "error"):
            raise Invalid("`files` is empty: give a pipeline_wrapper.py or a pipeline YAML as path and text.")
        deployment = await self._keeper.remembered(name)
        if deployment is None:
            raise Invalid(
                f"`files` is empty, and there is nothing stored under the name {name} to deploy again."
            )
        if deployment.problem:
            raise Broken(deployment.problem)
        return deployment


def _unknown(entry: Entry) -> bool:
    """True while an entry's first load goes on and nothing is known of its tool."""
    return entry.state == "loading" and (entry.version is None or entry.version.manifest is None)
