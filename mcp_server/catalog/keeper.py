"""Every change of the catalog: asked for by callers, seen in the folder, or made by another server.

One at a time: what is wanted is loaded on trial, written down, shown, and adopted. A change that fails or
is cancelled on the way leaves everything as it was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from ..engines import Engine, Outcome
from ..errors import Broken
from ..models import Manifest, Problem, State
from ..settings import Settings
from .board import Board
from .deployments import Deployment, Deployments, Wanted
from .entries import entry
from .folder import reason
from .ledger import Ledger
from .news import News
from .rollout import NOBODY, Rollout, Trial, failures
from .showing import Change, entries, fault

logger = logging.getLogger(__name__)


class Keeper:
    """Keeps what serves equal to what is wanted. Its `background` starts it."""

    def __init__(self, settings: Settings, engine: Engine, board: Board) -> None:
        self.ledger = Ledger(settings.folder, settings.state_folder())
        self._board = board
        self._lock = anyio.Lock()
        self._wanted = Wanted()
        self._failed: Deployments = {}
        """Edits that did not load, with their problem; not tried again until they change."""
        self._rollout = Rollout(engine, settings, self._hear)
        self.news = News()

    async def begin(self) -> None:
        """The first load. Everything that is wanted is shown, then comes up one by one."""
        async with self._lock:
            await self.ledger.open()
            try:
                await self._read(scan=True)
            except OSError as error:
                logger.warning("The folder of pipelines cannot be read: %s", reason(error))
                await self._read(scan=False)
            wanted = self._wanted.deployments
            trial = self._rollout.open({name: each for name, each in wanted.items() if not each.problem})
            self._adopt(trial, "loading")

    async def close(self) -> None:
        """Let go of the store, and of what was not to be kept. Reports that still come are not heard."""
        self._rollout.deployments = {}
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
        name = deployment.name
        trial = await self._open({**self._rollout.deployments, name: deployment}, frozenset({name}))
        async with self._discarding(trial):
            outcomes = await trial.outcomes()
            _refuse(name, trial, failures(outcomes, trial.fresh | self._serving()))
            deployed = await self.ledger.deploy(trial.target[name], author)
        trial = trial.completed({name: deployed}, outcomes)
        self._wanted = self._wanted.with_served(trial.target[name])
        self._adopt(trial, "running")

    async def rest(self, name: str) -> None:
        """Serve it no more."""
        wanted = self._wanted.without(name)
        if wanted.undeployed != self._wanted.undeployed:
            await self.ledger.undeploy(name)
        self._wanted = wanted
        rest = {key: each for key, each in self._rollout.deployments.items() if key != name}
        self._adopt(self._rollout.open(rest), "running")

    async def refresh(self, *, scan: bool) -> None:
        """Bring what serves to what the store says now; with `scan`, the folder too."""
        async with self._lock:
            try:
                await self._read(scan=scan)
                await self._reconcile()
            except BaseException:
                self.ledger.doubt()
                raise

    async def record(self) -> None:
        """Write down what loaded: versions of pipelines that are new, and schemas for the next start."""
        if not (latest := self.news.taken()):
            return
        new = [each for each, manifest in latest.values() if manifest and each.version is None]
        for name, numbered in (await self.ledger.numbered(new)).items():
            present, manifest = self._rollout.deployments.get(name), latest[name][1]
            if manifest and present and present.same_source(numbered):
                self._came_up(replace(present, version=numbered.version), manifest)
        await self.ledger.cache(latest)

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
        self._wanted = self._wanted.read_again(folder, await self.ledger.uploads(marks), undeployed)

    async def _reconcile(self) -> None:
        """Serve what is wanted; in the place of what does not load, what served before."""
        hopeless = NOBODY
        while True:
            trial = await self._open(self._target(hopeless), NOBODY)
            async with self._discarding(trial):
                outcomes = await trial.outcomes()
                broken = failures(outcomes, trial.fresh)
                new = [trial.target[name] for name in trial.fresh if trial.target[name].version is None]
                numbered = await self.ledger.numbered([] if broken else new)
            if not broken:
                return self._adopt(trial.completed(numbered, outcomes), "running")
            await self._rollout.discard(trial)
            hopeless |= self._failed.keys() & broken.keys()
            tried = {name: replace(trial.target[name], problem=why) for name, why in broken.items()}
            self._failed = {**self._failed, **tried}

    def _target(self, hopeless: frozenset[str]) -> Deployments:
        """What is wanted as far as it can serve, else what serves; without those that failed both ways."""
        target: dict[str, Deployment] = {}
        serving = {name: self._rollout.deployments[name] for name in self._serving()}
        for name, wanted in self._wanted.deployments.items():
            present = self._rollout.deployments.get(name)
            if name in hopeless:
                continue
            if fault(wanted, self._failed) is None:
                same = present if wanted.same_source(present) else None
                target[name] = replace(wanted, version=same.version or wanted.version) if same else wanted
            elif name in serving:
                target[name] = serving[name]
        return target

    async def _open(self, target: Deployments, anew: frozenset[str]) -> Trial:
        """Begin to load the target from where its sources are now; those that are nowhere are left out."""
        loads = self._rollout.loads(target, anew)
        placed = await self.ledger.in_place(target[name] for name in loads)
        kept = {
            name: placed.get(name, each) for name, each in target.items() if name not in loads - placed.keys()
        }
        return self._rollout.open(kept, anew)

    @asynccontextmanager
    async def _discarding(self, trial: Trial) -> AsyncGenerator[None]:
        """Whatever ends the trial before it is adopted, cancelling included, closes what it opened."""
        try:
            yield
        except BaseException:
            await self._rollout.discard(trial)
            raise

    def _adopt(self, trial: Trial, state: State) -> None:
        """Show it and let it serve, in one step for whoever looks."""
        self._failed = {
            name: each
            for name, each in self._failed.items()
            if name in self._wanted.deployments and not each.same_source(trial.target.get(name))
        }
        change = Change(trial.target, trial.fresh, state, time.time())
        self._board.show(list(entries(self._wanted, self._failed, change, self._board.snapshot.entries)))
        self._rollout.adopt(trial)
        for name in trial.fresh:
            version = trial.target[name].version
            if state == "running" and version and version.manifest:
                self.news.add(trial.target[name], version.manifest)

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
        if isinstance(outcome, Problem):
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
        same = before.state == "running"
        problem, since = (before.problem, before.since) if same else (None, time.time())
        made = entry(loaded, "running", problem=problem, since=since)
        if made != before:
            self._board.put(made)


def _refuse(name: str, trial: Trial, broken: dict[str, Problem]) -> None:
    """Raise `Broken` if the trial of `name` failed, or broke another pipeline."""
    if problem := broken.get(name):
        raise Broken(problem)
    if name not in trial.target:
        raise Broken(Problem(message="its files changed while they were read; try again"))
    for other, problem in broken.items():
        raise Broken(Problem(message=f"{other} does not load beside it any more: {problem}"))
