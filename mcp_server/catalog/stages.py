"""Which version has which stage: promoted, staged, rolled back, archived, deleted. All or nothing."""

from __future__ import annotations

from typing import get_args

from ..errors import Conflict, Invalid
from ..store.records import Placing, Stage, Staging
from .board import Board
from .deployments import Deployment
from .keeper import Keeper


class Stages:
    """Changes take their turn with deploys. A call in flight ends in the version where it began."""

    def __init__(self, board: Board, keeper: Keeper) -> None:
        self._board = board
        self._keeper = keeper
        self._archive = keeper.archive

    async def set_stage(
        self, name: str, number: int, stage: Stage, *, archive_existing: bool, share: float | None
    ) -> None:
        """Give it a stage; see `Catalog.set_stage`."""
        _check(stage, share)
        async with self._keeper.turn():
            await self._archive.record(name, number)
            if stage == "production":
                await self._promote(name, number, archive_existing)
            elif number == self._board.production(name):
                await self._unpin(name, number, stage)
            else:
                await self._place(name, number, stage, archive_existing, share or 0.0)

    async def delete(self, name: str, number: int) -> None:
        """Forget it. Raises `NotFound`, `Unavailable`, and `Conflict` for the one in production."""
        async with self._keeper.turn():
            if self._board.production(name) == number:
                raise _occupied(name, number)
            await self._archive.delete(name, number)
            self._keeper.unstage(name, number)
            self._keeper.beside.release(name, number)

    async def _promote(self, name: str, number: int, archive_existing: bool) -> None:
        current = self._board.production(name)
        displaced = (current,) if archive_existing and current not in (None, number) else ()
        placing = Placing(name, number, "production", archives=tuple(filter(None, displaced)))
        await self._serve(await self._archive.deployment(name, number), placing)
        self._keeper.unstage(name, number)

    async def _unpin(self, name: str, number: int, stage: Stage) -> None:
        """Let the folder's pipeline have production again. Raises `Conflict` where there is none."""
        folder = self._keeper.wanted.folder.get(name)
        pinned = name in self._keeper.wanted.uploads
        if stage == "staging" or not pinned or folder is None or folder.problem:
            raise _occupied(name, number)
        record = await self._archive.record(name, number)
        if stage == "archived" and folder.digest == record.version.digest:
            raise _occupied(name, number)
        await self._serve(folder, Placing(name, number, stage, unpins=True))

    async def _place(
        self, name: str, number: int, stage: Stage, archive_existing: bool, share: float
    ) -> None:
        before = self._board.snapshot.staged.get(name)
        archives: tuple[int, ...] = ()
        if stage == "staging":
            await self._loaded(name, number)
            if archive_existing and before and before.number != number:
                archives = (before.number,)
        await self._archive.place(Placing(name, number, stage, share, archives))
        if stage == "staging":
            self._keeper.stage(name, Staging(number, share))
        else:
            self._keeper.unstage(name, number)

    async def _serve(self, deployment: Deployment, placing: Placing) -> None:
        """Load it on trial, write the stage down, swap; calls in flight end where they began."""

        async def written(tried: Deployment) -> Deployment:
            if tried.version is None:
                tried = (await self._keeper.ledger.numbered([tried], {tried.name: placing.number}))[
                    tried.name
                ]
            await self._archive.place(placing)
            return tried

        await self._keeper.serve_as(deployment, written)

    async def _loaded(self, name: str, number: int) -> None:
        """What goes to staging must load, and serve beside something."""
        entry = self._board.snapshot.entries.get(name)
        if entry is None or entry.state == "undeployed":
            raise Conflict(f"{name} is not deployed; give a version the stage production first.")
        await self._keeper.beside.serving(name, number)


def _occupied(name: str, number: int) -> Conflict:
    return Conflict(
        f"Version {number} of {name} is in production; give another version that stage, or undeploy it."
    )


def _check(stage: Stage, share: float | None) -> None:
    if stage not in get_args(Stage):
        raise Invalid(f"A stage is one of {', '.join(get_args(Stage))}.")
    if share is not None and (stage != "staging" or not 0 <= share <= 1):
        raise Invalid("`share` is for the stage staging, from 0 to 1.")
