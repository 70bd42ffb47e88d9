"""What a server promises of versions, stages, runs and step-wise runs, as the simplest thing that does it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

STEPS = ("angles", "outline")


class No(Exception):
    """The server has to refuse this."""


def check(permitted: object) -> None:
    """Refuse unless it is permitted."""
    if not permitted:
        raise No


@dataclass
class Pipeline:
    """One name. `versions` holds what each version adds; a deleted one keeps its number."""

    versions: list[int] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)
    archived: set[int] = field(default_factory=set)
    production: int = 0
    undeployed: bool = False
    staging: tuple[int, float] | None = None

    def deploy(self, adds: int | None, overwrite: bool) -> None:
        if adds is None:
            check(self.versions and self.undeployed)
        else:
            check(overwrite or not self.versions or self.undeployed)
            if adds not in self.versions:
                self.versions.append(adds)
            self.production = self.versions.index(adds) + 1
            self.deleted.discard(self.production)
        self.archived.discard(self.production)
        self.undeployed = False

    def undeploy(self) -> None:
        check(self.versions)
        self.undeployed = True

    def delete(self, number: int) -> None:
        check(self.has(number) and number != self.production)
        self.deleted.add(number)
        if self.staging and self.staging[0] == number:
            self.staging = None

    def set_stage(self, number: int, stage: str, archive: bool, share: float | None) -> None:
        check(self.has(number) and (share is None or stage == "staging"))
        serves = not self.undeployed
        check(stage == "production" or not (serves and number == self.production))
        check(stage != "staging" or serves)
        displaced = {"production": self.production if serves else 0, "staging": (self.staging or (0, 0))[0]}
        if archive and displaced.get(stage, number) not in (0, number):
            self.archived.add(displaced[stage])
        (self.archived.add if stage == "archived" else self.archived.discard)(number)
        if stage == "staging":
            self.staging = (number, share or 0.0)
        elif self.staging and self.staging[0] == number:
            self.staging = None
        if stage == "production":
            self.production, self.undeployed = number, False

    def has(self, number: int) -> bool:
        return 0 < number <= len(self.versions) and number not in self.deleted

    def called(self, version: int | None, stage: str | None) -> int:
        """The version that a call goes to."""
        check(self.versions and not self.undeployed)
        if version is not None:
            check(self.has(version))
            return version
        if stage == "staging":
            check(self.staging)
        taken = self.staging is not None and (stage == "staging" or (stage is None and self.staging[1] == 1))
        return self.staging[0] if taken and self.staging else self.production

    def shown(self) -> dict[int, tuple[str, float | None]]:
        """The stage and the share of each version."""
        return {number: self.stage(number) for number in range(1, len(self.versions) + 1) if self.has(number)}

    def stage(self, number: int) -> tuple[str, float | None]:
        if number == self.production and not self.undeployed:
            return "production", None
        if self.staging and self.staging[0] == number:
            return "staging", self.staging[1]
        return ("archived" if number in self.archived else "none"), None


@dataclass(frozen=True)
class Passed:
    """An executed step of a step-wise run: the number of its first response, the texts, the choice."""

    first: int
    texts: tuple[str, str]
    chosen: int | None = None

    @property
    def output(self) -> str:
        assert self.chosen is not None
        return self.texts[self.chosen]


@dataclass
class Walk:
    """A step-wise run: where it stands."""

    path: list[Passed] = field(default_factory=list)
    taken: int = 0
    """Responses that were ever numbered."""
    cancelled: bool = False

    @property
    def chosen(self) -> list[Passed]:
        return [each for each in self.path if each.chosen is not None]

    @property
    def is_open(self) -> bool:
        """True if the current step has responses to choose from."""
        return len(self.path) > len(self.chosen)

    @property
    def status(self) -> str:
        if self.cancelled:
            return "ERROR"
        if len(self.chosen) == len(STEPS):
            return "COMPLETED"
        return "PAUSED" if self.path else "INITIALIZING"

    def execute(self, regenerate: bool) -> Passed:
        check(not self.cancelled and len(self.chosen) < len(STEPS) and (regenerate or not self.is_open))
        before = self.chosen
        prompt = f"Outline of {before[-1].output}" if before else "Angles on tea"
        self.path = [*before, Passed(self.taken + 1, (prompt, "always"))]
        self.taken += 2
        return self.path[-1]

    def select(self, number: int) -> None:
        check(not self.cancelled and self.is_open)
        last = self.path[-1]
        check(0 <= number - last.first < 2)
        self.path[-1] = Passed(last.first, last.texts, number - last.first)

    def rewind(self, step: int) -> None:
        check(step < len(self.chosen))
        back = self.path[step]
        self.path = [*self.path[:step], Passed(back.first, back.texts)]
        self.cancelled = False

    def fork(self) -> Walk:
        return Walk([*self.path], max([each.first + 1 for each in self.path], default=0))

    def cancel(self) -> None:
        check(self.status != "COMPLETED")
        self.cancelled = True

    def shown(self) -> tuple[str, str | None, list[str]]:
        """Status, current step, completed steps; as GET /pipeline/{id}/status tells."""
        passed = len(self.chosen)
        current = STEPS[passed] if passed < len(STEPS) else None
        return self.status, current, list(STEPS[:passed])


@dataclass
class Model:
    """Everything."""

    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    runs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Of each call its pipeline, version, status, result and error."""
    inputs: dict[str, int | None] = field(default_factory=dict)
    doubtful: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Calls of this life of the server: nobody promised to remember them if it is killed."""
    walks: dict[str, Walk] = field(default_factory=dict)
    keys: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    """What was asked with an idempotency key, and the run it began."""

    def pipeline(self, name: str) -> Pipeline:
        return self.pipelines.setdefault(name, Pipeline())

    def result(self, name: str, number: int, version: int) -> tuple[Any, ...]:
        """How a call of that version ends."""
        adds = self.pipeline(name).versions[version - 1]
        return (name, str(version), "done", {"result": number + adds}, None)

    def interrupt(self) -> None:
        """The server ended: so did what went on."""
        for identity, run in self.runs.items():
            if run[2] == "running":
                self.runs[identity] = (*run[:2], "failed", None, "interrupted")
