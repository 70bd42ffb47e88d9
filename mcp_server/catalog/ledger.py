"""What is written down: the folder, the store and the shelf, read and kept together.

Without a state folder that works, a store in memory and a temporary shelf take their place: the folder's
pipelines are served, and whatever would have to last is refused.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from anyio import to_thread

from ..errors import Unavailable, Unusable
from ..models import Manifest, Provenance, Source, Version
from ..pipelines.options import options_of
from ..pipelines.registered import Registered
from ..store import Committed, Draft, Marks, Place, Schema, Store
from .deployments import Deployment, Deployments
from .environment import fingerprint
from .folder import Found, reason, scan
from .placing import from_folder, from_store, known, present_root
from .shelf import Shelf

FILE = "state.db"
SOURCES = "sources"


class Ledger:
    """Gives deployments as values. Everything that blocks happens in a thread."""

    def __init__(self, folder: Path | None, state: Path, database: Place = None) -> None:
        """`database` is where the store is; by default a file in the state folder."""
        self._folder = folder
        self.store = Store(database or state / FILE)
        self.shelf = Shelf(state / SOURCES)
        self._temporary: Path | None = None
        self.environment = ""
        self._revision = 0
        self._handed: dict[str, Version] = {}
        self.fault: str | None = None
        """Why nothing lasts; None when all is well."""

    async def open(self) -> None:
        """Open the state folder, or do without. Opening twice is no harm."""
        if self.environment:
            return
        self.environment = await to_thread.run_sync(fingerprint)
        try:
            await self.store.open()
            named = await self.store.digests()
            await to_thread.run_sync(self.shelf.sweep, named)
        except (Unusable, Unavailable, OSError) as error:
            self.fault = str(error) if not isinstance(error, OSError) else "The state folder cannot be read."
            self.store, self.shelf = Store(None), self._temporary_shelf()
            await self.store.open()

    async def close(self) -> None:
        """Close the store; remove what was not to be kept."""
        await self.store.close()
        if self._temporary is not None:
            await to_thread.run_sync(shutil.rmtree, self._temporary, True)

    async def folder(self) -> Deployments:
        """The pipelines of the user's folder, broken ones too."""
        if self._folder is None:
            return {}
        found = await to_thread.run_sync(scan, self._folder)
        digests = {each.name: each.source.digest for each in found if each.source}
        versions = await self.store.versions(digests)
        schemas = await self.store.schemas(self.environment, digests)
        return await to_thread.run_sync(self._described, found, versions, schemas)

    async def uploads(self, marks: Marks) -> Deployments:
        """The uploads that were deployed last, undeployed ones too."""
        digests = {name: mark.upload for name, mark in marks.by_name.items() if mark.upload}
        versions = await self.store.versions(digests)
        schemas = await self.store.schemas(self.environment, digests)
        return {name: self._stored(version, schemas.get(name)) for name, version in versions.items()}

    async def stored(self, name: str) -> Deployment | None:
        """The last version of a name that has a copy, to be deployed as an upload."""
        records = await self.store.records(name)
        if not records or self.shelf.find(records[-1].version.digest) is None:
            return None
        return self._stored(records[-1].version, None)

    async def marks(self) -> Marks:
        """Every decision about a name; until the next change, `moved` is false."""
        marks = await self.store.marks()
        self._revision = marks.revision
        return marks

    async def moved(self) -> bool:
        """True if another server changed something."""
        return await self.store.revision() != self._revision

    def doubt(self) -> None:
        """What was read last did not take effect: read again."""
        self._revision = -1

    async def placed(self, source: Source, provenance: Provenance, *, keep: bool) -> Deployment:
        """An upload, on disk and ready to be loaded. Raises `Unavailable`, and `Broken` for its options."""
        options = await to_thread.run_sync(options_of, source.files)
        if keep and self.fault:
            raise Unavailable(f"Nothing can be saved: {self.fault} Deploy with save_files=false instead.")
        shelf = self.shelf if keep else self._temporary_shelf()
        try:
            root = await to_thread.run_sync(shelf.place, source)
        except OSError as error:
            raise Unavailable(f"The files cannot be saved: {reason(error)}.") from error
        return Deployment(
            source.name,
            "upload",
            source.digest,
            root,
            options,
            kept=keep,
            provenance=provenance,
            warnings=self.warnings(),
        )

    async def registered(self, name: str, given: Registered) -> Deployment:
        """A pipeline that code handed over, with a version that is not stored; its source, as far as it is
        known, lies on disk until the end."""
        root = await to_thread.run_sync(self._temporary_shelf().place, given.source)
        digest = given.source.digest
        made = Deployment(name, "code", digest, root, given.options, kept=False, load=given.load)
        return await self._provisional(made)

    async def deploy(self, deployment: Deployment, author: str, parent: int | None) -> Deployment:
        """Write down that it serves; with its version. What is not kept only gets a number."""
        if not deployment.kept:
            return await self._provisional(deployment)
        draft = self._draft(deployment, author, parent)
        committed = self.note(await self.store.deploy(draft, upload=deployment.origin == "upload"))
        return self._versioned(deployment, committed.versions[0])

    async def undeploy(self, name: str) -> None:
        """Write down that it does not serve. Raises `Unavailable`."""
        if self.fault:
            raise Unavailable(f"Nothing can be saved: {self.fault}")
        self.note(await self.store.undeploy(name))

    async def numbered(self, deployments: Iterable[Deployment], parents: Mapping[str, int]) -> Deployments:
        """Folder pipelines that have loaded, with their versions; numbers that cannot be stored say so."""
        loaded = list(deployments)
        drafts = [self._draft(each, "folder", parents.get(each.name)) for each in loaded]
        if not drafts:
            return {}
        try:
            versions = self.note(await self.store.add(drafts)).versions
        except Unavailable:
            return {each.name: await self._provisional(each) for each in loaded}
        return {
            each.name: self._versioned(each, version) for each, version in zip(loaded, versions, strict=True)
        }

    async def cache(self, schemas: Mapping[str, tuple[Deployment, Manifest | None]]) -> None:
        """Remember what loading revealed, or forget it. A cache that cannot be written is none."""
        found = {
            (name, deployment.digest): Schema(manifest, deployment.options) if manifest else None
            for name, (deployment, manifest) in schemas.items()
            if deployment.kept
        }
        with suppress(Unavailable):
            await self.store.cache(self.environment, found)

    async def serving(self, deployments: Iterable[Deployment]) -> None:
        """Remember since when these have production. What cannot be written is written at the next start."""
        with suppress(Unavailable):
            await self.store.serving({each.name: each.digest for each in deployments if each.kept})

    async def in_place(self, deployments: Iterable[Deployment]) -> Deployments:
        """The same, each in the user's folder if its source is unchanged there, else in its copy.

        One that has neither any more is left out.
        """
        chosen = list(deployments)
        roots = await to_thread.run_sync(
            lambda: [present_root(each, self._folder, self.shelf) for each in chosen]
        )
        placed = zip(chosen, roots, strict=True)
        return {each.name: replace(each, root=root) for each, root in placed if root is not None}

    def _described(
        self, found: Iterable[Found], versions: Mapping[str, Version], schemas: Mapping[str, Schema]
    ) -> Deployments:
        return {
            each.name: from_folder(
                each, self.shelf, versions.get(each.name), schemas.get(each.name), self.warnings()
            )
            for each in found
        }

    def _stored(self, version: Version, schema: Schema | None) -> Deployment:
        return from_store(version, self.shelf, schema, self.warnings())

    async def _provisional(self, deployment: Deployment) -> Deployment:
        """With a version that is not stored: numbered above all that were seen."""
        handed = self._handed.get(deployment.name)
        if handed is None or handed.digest != deployment.digest:
            try:
                latest = await self.store.latest(deployment.name)
            except Unavailable:
                latest = None
            number = 1 + max(each.number if each else 0 for each in (handed, latest))
            handed = Version(
                pipeline=deployment.name,
                number=number,
                digest=deployment.digest,
                created=time.time(),
                options=deployment.options,
                provenance=deployment.provenance,
            )
        return self._versioned(deployment, handed)

    def _draft(self, deployment: Deployment, author: str, parent: int | None) -> Draft:
        handed = self._handed.get(deployment.name)
        least = 1 if handed is None else handed.number + (handed.digest != deployment.digest)
        return Draft(
            deployment.name,
            deployment.digest,
            deployment.options,
            author,
            least,
            parent,
            deployment.provenance,
        )

    def _versioned(self, deployment: Deployment, version: Version) -> Deployment:
        self._handed[deployment.name] = version
        return replace(deployment, version=known(version, deployment.options))

    def note(self, committed: Committed) -> Committed:
        """Our own change needs no reading back, unless another server changed something before it."""
        if committed.revision == self._revision + 1:
            self._revision = committed.revision
        return committed

    def _temporary_shelf(self) -> Shelf:
        if self._temporary is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="mcp-server-"))
        return Shelf(self._temporary / SOURCES)

    def warnings(self) -> tuple[str, ...]:
        return (f"Changes are not remembered: {self.fault}",) if self.fault else ()
