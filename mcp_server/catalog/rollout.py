"""What the engine was given: generations opened on trial, adopted, released. Knows groups, not the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import anyio

from ..engines import Engine, Generation, Locate, Outcome
from ..errors import Broken
from ..models import Group, Manifest, Problem
from ..settings import Settings
from .deployments import Deployment, Deployments
from .grouping import groups

Report = Callable[[str, str, Outcome], None]
"""Told (pipeline name, digest, outcome) of an adopted pipeline."""
NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Trial:
    """A whole catalog that may come to serve, with a generation of each group that is not the same as now."""

    target: Deployments
    groups: Mapping[str, Group]
    generations: tuple[Generation, ...]
    fresh: frozenset[str]
    """The pipelines that are new, changed or moved."""

    async def outcomes(self) -> Mapping[str, Outcome]:
        """Wait until every generation is settled; what each member came to."""
        settled = [await generation.settled() for generation in self.generations]
        return {name: outcome for each in settled for name, outcome in each.items()}

    def completed(self, versions: Deployments, outcomes: Mapping[str, Outcome]) -> Trial:
        """The same with versions that were just made, and with what loading revealed."""
        target = dict(self.target) | dict(versions)
        for name, outcome in outcomes.items():
            if isinstance(outcome, Manifest) and target[name].version:
                target[name] = target[name].with_manifest(outcome)
        return replace(self, target=target)


class Rollout:
    """Hands groups to the engine. Generations are immutable: a change of a group loads all its members."""

    def __init__(self, engine: Engine, settings: Settings, report: Report, locate: Locate) -> None:
        self._engine = engine
        self._settings = settings
        self._report = report
        self._locate = locate
        self._groups: Mapping[str, Group] = {}
        self.deployments: Deployments = {}
        """What was adopted, by name. Some may have failed since."""

    def loads(self, target: Deployments, anew: frozenset[str] = NOBODY) -> frozenset[str]:
        """Every pipeline that `open` would load for this target."""
        wanted = groups(target.values(), self._settings)
        news = self._news(wanted, anew)
        return frozenset(member.name for name in news for member in wanted[name].members)

    def open(self, target: Deployments, anew: frozenset[str] = NOBODY) -> Trial:
        """Begin to load what differs from what serves, and `anew` in any case. Adopt or discard it."""
        wanted = groups(target.values(), self._settings)
        news = self._news(wanted, anew)
        generations = tuple(self._engine.open(wanted[name]) for name in news)
        return Trial(target, wanted, generations, frozenset[str]().union(*news.values()))

    def adopt(self, trial: Trial) -> None:
        """From now on the trial's target serves; what is no longer in it is released."""
        gone = _sources(self.deployments) - _sources(trial.target)
        self.deployments, self._groups = trial.target, trial.groups
        for generation in trial.generations:
            self._engine.adopt(generation, partial(self._hear, generation.group), self._locate)
        for name, digest in gone:
            self._engine.release(name, digest)

    async def discard(self, trial: Trial) -> None:
        """Close what was opened, also when this is being cancelled."""
        with anyio.CancelScope(shield=True):
            for generation in trial.generations:
                await self._engine.discard(generation)

    @asynccontextmanager
    async def discarding(self, trial: Trial) -> AsyncGenerator[None]:
        """Whatever ends the trial before it is adopted, cancelling included, closes what it opened."""
        try:
            yield
        except BaseException:
            await self.discard(trial)
            raise

    def caught_up(self, trial: Trial) -> Trial:
        """The same with what became known, while it loaded, of the pipelines that it leaves as they are."""
        known = {
            name: replace(each, version=present.version)
            for name, each in trial.target.items()
            if (each.version is None or each.version.manifest is None)
            and (present := self.deployments.get(name))
            and present.same_source(each)
            and present.version
        }
        return replace(trial, target={**trial.target, **known})

    def loaded(self, deployment: Deployment, manifest: Manifest) -> Deployment:
        """Keep what an adopted pipeline turned out to be."""
        known = deployment.with_manifest(manifest)
        self.deployments = {**self.deployments, deployment.name: known}
        return known

    def _news(self, wanted: Mapping[str, Group], anew: frozenset[str]) -> dict[str, frozenset[str]]:
        """For each group that needs a generation, the members that the present one does not hold so."""
        news: dict[str, frozenset[str]] = {}
        for name, group in wanted.items():
            former = self._groups.get(name)
            held = {each.name: (each.digest, each.options) for each in former.members} if former else {}
            found = {
                each.name for each in group.members if held.get(each.name) != (each.digest, each.options)
            }
            if former is None or (former.walls, former.env) != (group.walls, group.env):
                found = {each.name for each in group.members}
            found |= anew & {each.name for each in group.members}
            if found:
                news[name] = frozenset(found)
        return news

    def _hear(self, group: Group, name: str, outcome: Outcome) -> None:
        digest = next(member.digest for member in group.members if member.name == name)
        self._report(name, digest, outcome)


def _sources(deployments: Deployments) -> frozenset[tuple[str, str]]:
    return frozenset((name, each.digest) for name, each in deployments.items())


def failures(outcomes: Mapping[str, Outcome], among: frozenset[str]) -> dict[str, Problem]:
    """Which of these pipelines did not load, and why."""
    return {
        name: outcome for name, outcome in outcomes.items() if name in among and isinstance(outcome, Problem)
    }


def refuse(name: str, trial: Trial, broken: dict[str, Problem]) -> None:
    """Raise `Broken` if the trial of `name` failed, or broke another pipeline."""
    if problem := broken.get(name):
        raise Broken(problem)
    if name not in trial.target:
        raise Broken(
            Problem(message="its files changed, or the disk failed, while they were read; try again")
        )
    for other, problem in broken.items():
        raise Broken(Problem(message=f"{other} does not load beside it any more: {problem}"))
