"""What must last: versions of pipelines, what was uploaded or undeployed, and cached schemas.

`Store` is the async face of `database.Database`, which runs in one thread. SQLAlchemy is imported when a
store is opened, not with this module, so that the front answers before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, TypeVarTuple

import anyio
from anyio import to_thread

from ..models import Manifest, Options, Provenance, Run, RunStatus, Version
from .records import Placing, Record, Remarks, Staging

if TYPE_CHECKING:
    from .database import Database

Place = Path | str | None
"""Where a database is: a SQLite file, the URL of a PostgreSQL database, or None for this process's memory."""

INTERRUPTED = "interrupted"
"""The error of a run whose server stopped before it ended."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class Draft:
    """A version that is to get its number. `number` is the least it may get."""

    pipeline: str
    digest: str
    options: Options
    author: str
    number: int = 1
    parent: int | None = None
    """The version that serves when this one comes."""
    provenance: Provenance = "folder"


@dataclass(frozen=True)
class Mark:
    """What was decided about a name: which upload or pinned version serves, whether it was undeployed, what
    is in staging."""

    upload: str | None = None
    undeployed: bool = False
    staging: Staging | None = None


@dataclass(frozen=True)
class Marks:
    """Every decision, as of one revision."""

    revision: int
    by_name: Mapping[str, Mark]


@dataclass(frozen=True)
class Schema:
    """What an earlier start learned about a source: what loading it revealed, and what it declares."""

    manifest: Manifest
    options: Options


@dataclass(frozen=True)
class Committed:
    """A change that is on disk: the revision it made, and the versions it named, in their drafts' order."""

    revision: int
    versions: tuple[Version, ...] = ()


@dataclass(frozen=True)
class Filter:
    """Which runs to list; None for any."""

    caller: str | None = None
    pipeline: str | None = None
    status: RunStatus | None = None
    parent: str | None = None
    version: int | None = None
    origin: str | None = None
    since: float | None = None
    until: float | None = None
    """Made at or after, and before these seconds since the epoch."""


@dataclass(frozen=True)
class Page:
    """Runs without inputs and results, the newest first. `next` is the cursor of the following page."""

    runs: Sequence[Run]
    next: str | None


Kind = Literal["runs", "steps", "artifacts"]
"""What history keeps: runs; perhaps for a shorter time the calls of their components, and what they left."""


@dataclass(frozen=True)
class Bound:
    """How much of one kind is kept, the newest first; None keeps all."""

    number: int | None = None
    days: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Retention:
    """What is kept of ended runs. The bytes of runs are all that is kept of them."""

    runs: Bound = Bound()
    steps: Bound = Bound()
    artifacts: Bound = Bound()


@dataclass(frozen=True)
class Figures:
    """How the calls of a pipeline went. Times are seconds; None without calls.

    `cached` are further calls: they were answered with a kept result, and not run.
    """

    total: int
    failed: int
    cached: int
    mean: float | None
    p50: float | None
    p95: float | None


@dataclass(frozen=True)
class Statistics:
    """The figures of a pipeline: all of its calls, and those of each day (UTC), the newest first."""

    whole: Figures
    days: Mapping[date, Figures]


class Store:
    """Durable: what a method acknowledged survives `kill -9`. Safe beside other servers on the same file.

    Every method may raise `Unavailable` when the disk refuses or another server writes for too long; then
    nothing was changed. A change that was begun is finished before a cancellation is seen.
    """

    def __init__(self, place: Place) -> None:
        """A SQLite file is made with its folder."""
        self._place = place
        self._thread = anyio.CapacityLimiter(1)
        self._opened: Database | None = None

    async def open(self) -> None:
        """Open, and bring the schema to ours. Raises `Unusable` for a place or file that cannot be used."""
        self._opened = await self._do(_open, self._place)

    async def close(self) -> None:
        """Let go of the file."""
        if self._opened is not None:
            await self._do(self._opened.close)
            self._opened = None

    async def revision(self) -> int:
        """Rises with every change, whichever server makes it."""
        return await self._do(self._database.revision)

    async def marks(self) -> Marks:
        """Every decision about a name."""
        return await self._do(self._database.marks)

    async def versions(self, digests: Mapping[str, str]) -> Mapping[str, Version]:
        """The versions that have these digests, by pipeline; those that have none are left out."""
        return await self._do(self._database.versions, digests)

    async def latest(self, pipeline: str) -> Version | None:
        """The version with the highest number."""
        return await self._do(self._database.latest, pipeline)

    async def digests(self) -> frozenset[str]:
        """The digest of every version of every pipeline."""
        return await self._do(self._database.digests)

    async def add(self, drafts: Sequence[Draft]) -> Committed:
        """Number new versions. A digest the pipeline already had gives that version back."""
        return await self._do(self._database.add, drafts)

    async def deploy(self, draft: Draft, *, upload: bool) -> Committed:
        """`add` it and let it serve: as an upload, or as what the folder holds."""
        return await self._do(self._database.deploy, draft, upload)

    async def undeploy(self, pipeline: str) -> Committed:
        """Remember that the name is not to be served, whatever the folder or an upload holds."""
        return await self._do(self._database.undeploy, pipeline)

    async def serving(self, digests: Mapping[str, str]) -> None:
        """Write down since when these have production, by pipeline; those that had it keep their time."""
        await self._do(self._database.serving, digests)

    async def records(self, pipeline: str) -> tuple[Record, ...]:
        """Every version of a pipeline that was not deleted, by rising number."""
        return await self._do(self._database.records, pipeline)

    async def everything(self) -> tuple[Record, ...]:
        """The same of every pipeline, by name."""
        return await self._do(self._database.everything)

    async def remark(self, pipeline: str, number: int, remarks: Remarks) -> Committed:
        """Write down what a person says about a version. Raises `NotFound`."""
        return await self._do(self._database.remark, pipeline, number, remarks)

    async def delete(self, pipeline: str, number: int) -> Committed:
        """Forget a version. Raises `NotFound`, and `Conflict` for one that a person put in production."""
        return await self._do(self._database.delete, pipeline, number)

    async def place(self, placing: Placing) -> Committed:
        """Give a version a stage, all in one go. Raises `NotFound`."""
        return await self._do(self._database.place, placing)

    async def schemas(self, environment: str, digests: Mapping[str, str]) -> Mapping[str, Schema]:
        """What is cached for these pipelines' digests in this environment, by pipeline."""
        return await self._do(self._database.schemas, environment, digests)

    async def cache(self, environment: str, schemas: Mapping[tuple[str, str], Schema | None]) -> None:
        """Replace what is cached, by pipeline and digest; None forgets."""
        await self._do(self._database.cache, environment, schemas)

    @property
    def _database(self) -> Database:
        assert self._opened is not None, "the store is not open"
        return self._opened

    async def _do(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await to_thread.run_sync(work, *arguments, limiter=self._thread)


def _open(place: Place) -> Database:
    from .database import Database  # SQLAlchemy costs 0.1 s: not before the server answers

    return Database(place)
