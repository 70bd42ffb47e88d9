"""Every change of the catalog: asked for by callers, seen in the folder, or made by another server.

One at a time: what is wanted is loaded on trial, written down, shown, and adopted. A change that fails or
is cancelled on the way leaves everything as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import anyio

from ..engines import Engine, Outcome
from ..models import Manifest, Member, Problem, State
from ..pipelines.registered import Registered
from ..settings import Settings
from ..store.records import Staging
from .archive import Archive
from .beside import Beside
from .board import Board
from .deployments import Deployment, Deployments, Wanted
from .entries import Snapshot, entry
from .folder import reason
from .ledger import Ledger
from .news import News
from .rollout import NOBODY, Rollout, Trial, failures, refuse
from .showing import Change, entries, fault, servable

logger = logging.getLogger(__name__)


Told = Callable[[Snapshot, Snapshot], None]
"""Told the catalog before and after a change that was made here."""


class Keeper:
    """Keeps what serves equal to what is wanted. Its `background` starts it."""

    def __init__(self, settings: Settings, engine: Engine, board: Board, told: Told) -> None:
        self.ledger = Ledger(settings.folder, settings.state_folder(), settings.database())
        self._board = board
        self._told = told
        self._lock = anyio.Lock()
        self._wanted = Wanted()
        self._failed: Deployments = {}
        """Edits that did not load, with their problem; not tried again until they change."""
        self._formers: Deployments = {}
        """The last versions that worked, of what was broken while no server looked."""
        self.registered: dict[str, Registered] = {}
        """What code handed over before the start, by name; it goes before what is stored."""
        self._rollout = Rollout(engine, settings, self._hear, self._locate)
        self.archive = Archive(self.ledger)
        self.beside = Beside(engine, settings, self.archive)
        self.news = News()

    @property
    def wanted(self) -> Wanted:
        """What the folder, the store and callers want now."""
        return self._wanted

    async def begin(self) -> None:
        """The first load. Everything that is wanted is shown, then comes up one by one."""
        async with self._lock:
            await self.ledger.open()
            try:
                await self._read(scan=True)
            except OSError as error:
                logger.warning("The folder of pipelines cannot be read: %s", reason(error))
                await self._read(scan=False)
            for name, given in self.registered.items():
                self._wanted = self._wanted.with_served(await self.ledger.registered(name, given))
            self._formers = await self.archive.formers(self._wanted.deployments)
            self._adopt(self._rollout.open(self._target(NOBODY)), "loading")
            await self.ledger.serving(self._rollout.deployments.values())

    async def close(self) -> None:
        """Let go of the store, and of what was not to be kept. Reports that still come are not heard."""
        self._rollout.deployments = {}
        await self.beside.close()
        await self.ledger.close()

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """One change at a time, after the start."""
        await self._board.until(lambda: self._board.started)
        async with self._lock:
            yield

    async def remembered(self, name: str) -> Deployment | None:
        """What can be deployed without files: the folder's pipeline, else what was stored last."""
        found = (await self.ledger.folder()).get(name)
        return found or self._wanted.uploads.get(name) or await self.ledger.stored(name)

    async def serve(self, deployment: Deployment, author: str) -> None:
        """Serve this too. Raises `Broken` if it, or another one that serves now, does not load then."""
        parent = self._numbers().get(deployment.name)
        await self.serve_as(deployment, lambda tried: self.ledger.deploy(tried, author, parent))

    async def serve_as(
        self, deployment: Deployment, commit: Callable[[Deployment], Awaitable[Deployment]]
    ) -> None:
        """The same, with `commit` to write it down; that gives the deployment with its version."""
        name = deployment.name
        trial = await self._open({**self._rollout.deployments, name: deployment}, frozenset({name}))
        async with self._rollout.discarding(trial):
            outcomes = await trial.outcomes()
            refuse(name, trial, failures(outcomes, trial.fresh | self._serving()))
            deployed = await commit(trial.target[name])
        trial = trial.completed({name: deployed}, outcomes)
        self._wanted = self._wanted.with_served(trial.target[name])
        with self._telling():
            self._adopt(trial, "running")

    async def rest(self, name: str) -> None:
        """Serve it no more."""
        wanted = self._wanted.without(name)
        if wanted.undeployed != self._wanted.undeployed:
            await self.ledger.undeploy(name)
        self._wanted = wanted
        rest = {key: each for key, each in self._rollout.deployments.items() if key != name}
        with self._telling():
            self._adopt(self._rollout.open(rest), "running")

    def stage(self, name: str, staging: Staging | None) -> None:
        """This version is in staging now, as was written down."""
        self._wanted = self._wanted.with_staged(name, staging)
        self._board.stage(self._wanted.staged)
        self.beside.settle(self._wanted, self._rollout.deployments)

    def unstage(self, name: str, number: int) -> None:
        """This version is not in staging any more, if it was."""
        staged = self._wanted.staged.get(name)
        if staged is not None and staged.number == number:
            self.stage(name, None)

    async def refresh(self, *, scan: bool) -> None:
        """Bring what serves to what the store says now; with `scan`, the folder too."""
        async with self._lock:
            try:
                await self._read(scan=scan)
                with self._telling() if scan else nullcontext():  # else another server did it, and tells
                    await self._reconcile()
            except BaseException:
                self.ledger.doubt()
                raise

    async def record(self) -> None:
        """Write down what loaded: versions of pipelines that are new, and schemas for the next start."""
        if not (latest := self.news.taken()):
            return
        new = [each for each, manifest in latest.values() if manifest and each.version is None]
        for name, numbered in (await self.ledger.numbered(new, self._numbers())).items():
            present, manifest = self._rollout.deployments.get(name), latest[name][1]
            if manifest and present and present.same_source(numbered):
                self._came_up(replace(present, version=numbered.version), manifest)
        await self.ledger.cache(latest)
        await self.ledger.serving(self._rollout.deployments.values())

    async def _read(self, *, scan: bool) -> None:
        """What is wanted now. A folder pipeline that another server deployed again is read again, too."""
        marks = await self.ledger.marks()
        undeployed = frozenset(name for name, mark in marks.by_name.items() if mark.undeployed)
        returned = self._wanted.undeployed - undeployed
        folder = self._wanted.folder
        if scan or returned:
            found = await self.ledger.folder()
            again = found.keys() if scan else found.keys() & returned
            kept: Deployments = {} if scan else folder
            folder = {**kept, **{name: found[name] for name in again}}
        staged = {name: mark.staging for name, mark in marks.by_name.items() if mark.staging}
        self._wanted = self._wanted.read_again(folder, await self.ledger.uploads(marks), undeployed, staged)

    async def _reconcile(self) -> None:
        """Serve what is wanted; in the place of what does not load, what served before."""
        hopeless = NOBODY
        while True:
            trial = await self._open(self._target(hopeless), NOBODY)
            async with self._rollout.discarding(trial):
                outcomes = await trial.outcomes()
                broken = failures(outcomes, trial.fresh)
                new = [trial.target[name] for name in trial.fresh if trial.target[name].version is None]
                numbered = await self.ledger.numbered([] if broken else new, self._numbers())
            if not broken:
                return self._adopt(trial.completed(numbered, outcomes), "running")
            await self._rollout.discard(trial)
            hopeless |= self._failed.keys() & broken.keys()
            new_ones = broken.keys() - hopeless
            tried = {name: replace(trial.target[name], problem=broken[name]) for name in new_ones}
            self._failed = {**self._failed, **tried}

    def _target(self, hopeless: frozenset[str]) -> Deployments:
        """What is to serve, as far as it can; without those that failed both ways."""
        serving = {name: self._rollout.deployments[name] for name in self._serving()}
        before = {**self._formers, **serving}
        target = servable(self._wanted.deployments, self._failed, before, self._rollout.deployments)
        return {name: each for name, each in target.items() if name not in hopeless}

    async def _open(self, target: Deployments, anew: frozenset[str]) -> Trial:
        """Begin to load the target from where its sources are now; those that are nowhere are left out."""
        loads = self._rollout.loads(target, anew)
        placed = await self.ledger.in_place(target[name] for name in loads)
        kept = {
            name: placed.get(name, each) for name, each in target.items() if name not in loads - placed.keys()
        }
        return self._rollout.open(kept, anew)

    def _adopt(self, trial: Trial, state: State) -> None:
        """Show it and let it serve, in one step for whoever looks."""
        trial = self._rollout.caught_up(trial)
        self._failed = {
            name: each
            for name, each in self._failed.items()
            if name in self._wanted.deployments and not each.same_source(trial.target.get(name))
        }
        change = Change(trial.target, trial.fresh, state, time.time())
        before = self._board.snapshot.entries
        self._board.show(list(entries(self._wanted, self._failed, change, before)), self._wanted.staged)
        self._rollout.adopt(trial)
        self.beside.settle(self._wanted, trial.target)
        for name in trial.fresh:
            version = trial.target[name].version
            if state == "running" and version and version.manifest:
                self.news.add(trial.target[name], version.manifest)

    @contextmanager
    def _telling(self) -> Generator[None]:
        """Whoever asked to be told hears what changes within."""
        before = self._board.snapshot
        yield
        self._told(before, self._board.snapshot)

    def _numbers(self) -> Mapping[str, int]:
        """The version that serves, by name; of an edit made while no server looked, the one before it."""
        known = [*self._formers.values(), *self._rollout.deployments.values()]
        return {each.name: each.version.number for each in known if each.version}

    async def _locate(self, member: Member) -> Path | None:
        """Where the source of a pipeline lies now that is about to be loaded again."""
        deployment = self._rollout.deployments.get(member.name)
        if deployment is None or deployment.digest != member.digest:
            return member.root
        placed = await self.ledger.in_place([deployment])
        return placed[member.name].root if placed else None

    def _serving(self) -> frozenset[str]:
        entries = self._board.snapshot.entries
        return frozenset(
            name for name in self._rollout.deployments if name in entries and entries[name].serves
        )

    def _hear(self, name: str, digest: str, outcome: Outcome) -> None:
        """An adopted pipeline came up, or went down for good."""
        deployment = self._rollout.deployments.get(name)
        if deployment is None or deployment.digest != digest or name not in self._board.snapshot.entries:
            return
        version = deployment.version
        if isinstance(outcome, Problem) and version is None and name in self._formers:
            self._failed = {**self._failed, name: replace(deployment, problem=outcome)}
            self.ledger.doubt()  # what worked before takes its place at the next look
        elif isinstance(outcome, Problem):
            with self._telling():
                self._board.put(entry(deployment, "error", problem=outcome))
            self.news.add(deployment, None)
        elif version is None:
            self.news.add(deployment, outcome)
        else:
            self._came_up(deployment, outcome)
            if version.manifest != outcome:
                self.news.add(deployment, outcome)

    def _came_up(self, deployment: Deployment, manifest: Manifest) -> None:
        loaded = self._rollout.loaded(deployment, manifest)
        before = self._board.snapshot.entries[deployment.name]
        since = before.since if before.state == "running" else time.time()
        wanted = self._wanted.deployments.get(deployment.name)
        problem = fault(wanted, self._failed) if wanted else None
        made = entry(loaded, "running", problem=problem, since=since)
        if made != before:
            self._board.put(made)
