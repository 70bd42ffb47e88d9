"""Versions as they were written down: read, described, staged, deleted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from anyio import to_thread

from ..errors import Broken, Invalid, NotFound, Unavailable
from ..models import Source
from ..pipelines.options import options_of
from ..store import Committed, Draft
from ..store.records import Placing, Record, Remarks
from .deployments import Deployment, Deployments
from .folder import read
from .ledger import Ledger
from .placing import from_store

DIGEST = re.compile(r"[0-9a-f]{64}")
Readiness = Literal["ready", "pending", "failed"]
"""Whether a version can be called: it loaded, it was never loaded, it does not load."""


class Archive:
    """What the ledger's store and shelf hold of versions, whether they serve or not."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def records(self, name: str) -> tuple[Record, ...]:
        """Every version of a pipeline that was not deleted, by rising number."""
        return await self._ledger.store.records(name)

    async def everything(self) -> tuple[Record, ...]:
        """The same of every pipeline, by name."""
        return await self._ledger.store.everything()

    async def record(self, name: str, number: int) -> Record:
        """One version. Raises `NotFound`."""
        for record in await self.records(name):
            if record.version.number == number:
                return record
        raise NotFound(f"{name[:64]} has no version {number}.")

    async def deployment(self, name: str, number: int) -> Deployment:
        """A version, to be loaded from its copy. Raises `NotFound`, and `Broken` if the copy is gone."""
        deployment = await self._deployment(await self.record(name, number))
        if deployment.problem:
            raise Broken(deployment.problem)
        return deployment

    async def formers(self, wanted: Deployments) -> Deployments:
        """For each folder pipeline that never loaded as it is now: the last version of it that did.

        Those that have none are left out.
        """
        found: dict[str, Deployment] = {}
        for name, each in wanted.items():
            if each.origin != "folder" or (each.version and not each.problem):
                continue
            if former := await self._former(name):
                found[name] = former
        return found

    async def source(self, name: str, number: int) -> Source:
        """The files of a version. Raises `NotFound`, `Broken` and `Unavailable` if they are gone."""
        deployment = await self.deployment(name, number)
        try:
            return await to_thread.run_sync(read, name, deployment.root)
        except (Invalid, OSError):
            raise Unavailable(f"The files of version {number} cannot be read any more.") from None

    async def readiness(self, digests: Mapping[str, str]) -> Mapping[str, Readiness]:
        """Whether a version of each pipeline could be called, given its digest, by name."""
        ledger = self._ledger
        known = await ledger.store.schemas(ledger.environment, digests)
        present = await to_thread.run_sync(
            lambda: {name for name, digest in digests.items() if ledger.shelf.has(digest)}
        )
        return {
            name: "failed" if name not in present else "ready" if name in known else "pending"
            for name in digests
        }

    async def add(self, name: str, digest: str, author: str, parent: int | None) -> int:
        """A version of `name` with a source that is kept here already; gives its number.

        Raises `NotFound` if there is no such source, `Broken` if it cannot be one, `Unavailable`.
        """
        root = self._ledger.shelf.find(digest) if DIGEST.fullmatch(digest) else None
        if root is None:
            raise NotFound("No source with this digest is kept here.")
        try:
            source = await to_thread.run_sync(read, name, root)
        except (Invalid, OSError):
            raise Unavailable("The files of this source cannot be read any more.") from None
        options = await to_thread.run_sync(options_of, source.files)
        draft = Draft(name, digest, options, author, parent=parent)
        committed = await self._lasting().store.add([draft])
        self._note(committed)
        return committed.versions[0].number

    async def place(self, placing: Placing) -> None:
        """Give a version a stage. Raises `NotFound` and `Unavailable`."""
        self._note(await self._lasting().store.place(placing))

    async def remark(self, name: str, number: int, remarks: Remarks) -> None:
        """Write down what a person says about a version. Raises `NotFound` and `Unavailable`."""
        self._note(await self._lasting().store.remark(name, number, remarks))

    async def delete(self, name: str, number: int) -> None:
        """Forget a version. Raises `NotFound`, `Unavailable`, and `Conflict` for one in production."""
        self._note(await self._lasting().store.delete(name, number))

    async def _former(self, name: str) -> Deployment | None:
        for record in reversed(await self.records(name)):
            deployment = await self._deployment(record)
            if not record.archived and deployment.problem is None:
                return deployment
        return None

    async def _deployment(self, record: Record) -> Deployment:
        version, ledger = record.version, self._ledger
        digests = {version.pipeline: version.digest}
        schema = (await ledger.store.schemas(ledger.environment, digests)).get(version.pipeline)
        return await to_thread.run_sync(from_store, version, ledger.shelf, schema, ledger.warnings())

    def _lasting(self) -> Ledger:
        if self._ledger.fault:
            raise Unavailable(f"Nothing can be saved: {self._ledger.fault}")
        return self._ledger

    def _note(self, committed: Committed) -> None:
        self._ledger.note(committed)
