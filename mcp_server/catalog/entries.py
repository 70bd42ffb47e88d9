"""What callers see of the catalog: an entry for each pipeline, and all of them at one moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from .. import lint
from ..errors import Unavailable
from ..models import Json, Manifest, Options, Problem, State, Status, Version
from ..store.records import Staging
from .deployments import Deployment, Origin


@dataclass(frozen=True)
class Entry:
    """A pipeline, as it is now. Immutable: a change is another entry."""

    deployment: Deployment
    state: State
    problem: Problem | None = None
    """Why it does not serve; or, while it does, why its newest edit does not."""
    since: float = 0.0
    """When this version began to serve, in seconds since the epoch."""

    @property
    def name(self) -> str:
        return self.deployment.name

    @cached_property
    def version(self) -> Version | None:
        """None only as long as nothing of this name has ever loaded."""
        return self.deployment.version

    @cached_property
    def options(self) -> Options:
        return self.deployment.options

    @property
    def origin(self) -> Origin:
        return self.deployment.origin

    @property
    def kept(self) -> bool:
        """False if it ends with the server."""
        return self.deployment.kept

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its author should know."""
        manifest = self.version.manifest if self.version else None
        unkept = (
            ()
            if self.kept or self.origin == "code"
            else ("Not saved: this pipeline is gone when the server stops.",)
        )
        return self.deployment.warnings + unkept + (manifest.warnings + self._clients if manifest else ())

    @cached_property
    def _clients(self) -> tuple[str, ...]:
        """What clients would refuse or cut of its tool."""
        return lint.warnings(self.manifest.tool) if self.manifest and not self.options.hidden else ()

    @cached_property
    def serves(self) -> bool:
        """True if a call may be sent to it; it waits for a host that is still loading."""
        return self.version is not None and self.state in ("running", "loading")

    @cached_property
    def manifest(self) -> Manifest | None:
        """What is known of it while it serves."""
        return self.version.manifest if self.version and self.serves else None

    @property
    def listed(self) -> tuple[Json, int] | None:
        """The tool to list in wire form, and the number of its version; None if there is none."""
        if self.manifest is None or self.version is None or self.options.hidden:
            return None
        return self.manifest.tool, self.version.number

    @property
    def published(self) -> tuple[tuple[Json, ...], ...]:
        """Its resources, templates of resources and prompts, to list in wire form."""
        manifest = self.manifest
        return (manifest.resources, manifest.templates, manifest.prompts) if manifest else ((), (), ())

    @property
    def addresses(self) -> Iterator[tuple[str, str]]:
        """What it publishes, each by the field that must be unique and its value."""
        for key, items in zip(("uri", "uriTemplate", "name"), self.published, strict=True):
            yield from ((key, item[key]) for item in items)

    def status(self, calls: int = 0, errors: int = 0, staging: Staging | None = None) -> Status:
        """The same for callers, with what was counted, and what is in staging."""
        version = self.version if self.serves else None
        manifest = version.manifest if version else None
        return Status(
            name=self.name,
            status=self.state,
            version=str(version.number) if version else None,
            digest=version.digest if version else None,
            stages=_stages(version, staging) if self.state != "undeployed" else None,
            share=staging.share if staging and self.state != "undeployed" else None,
            kind=manifest.kind if manifest else None,
            uptime=max(0.0, time.time() - self.since) if self.since and version else 0.0,
            calls=calls,
            errors=errors,
            description=manifest.tool.get("description") if manifest else None,
            error=str(self.problem) if self.problem else None,
            warnings=self.warnings,
        )


@dataclass(frozen=True)
class Serving(Entry):
    """An entry that has a version, so that it can be called."""

    @cached_property
    def version(self) -> Version:
        assert self.deployment.version is not None, "made by `entry`"
        return self.deployment.version

    @cached_property
    def caches(self) -> float | None:
        """Seconds for which results are given again; a step-wise pipeline begins a new run with each call."""
        manifest = self.version.manifest
        return None if manifest and manifest.steps else self.options.cache

    def check(self, inputs: Json) -> None:
        """Raise `Invalid` if the arguments do not fit the tool's input schema.

        The text names the fields and what was expected, in at most 500 characters, and no values.
        """
        self.checks(inputs)

    @cached_property
    def checks(self) -> Callable[[Json], None]:
        """The same, compiled. Raises `Unavailable` while there is no schema yet, or none that can be."""
        if self.version.manifest is None:
            raise Unavailable(f"{self.name} is still loading; try again.")
        from .arguments import Arguments  # 3 MB, and no call may ever come

        return Arguments(self.version.manifest.tool["inputSchema"]).check


@dataclass(frozen=True)
class Snapshot:
    """The whole catalog at one moment.

    `revision` rises whenever a listed tool or its version changes, what is published beside it, or what is
    in staging.
    """

    revision: int = 0
    entries: Mapping[str, Entry] = field(default_factory=lambda: MappingProxyType({}))
    """By name, sorted."""
    tools: tuple[Json, ...] = ()
    """The listed tools in wire form, sorted by name. Not to be changed."""
    staged: Mapping[str, Staging] = field(default_factory=lambda: MappingProxyType({}))
    """What is in staging, by name."""

    @cached_property
    def shadowed(self) -> Mapping[str, tuple[str, ...]]:
        """By name: warnings for what a pipeline publishes under an address or name that one before it has."""
        owners: dict[tuple[str, str], str] = {}
        found: dict[str, tuple[str, ...]] = {}
        for entry in self.entries.values():
            for key, each in entry.addresses:
                owner = owners.setdefault((key, each), entry.name)
                if owner != entry.name:
                    told = f"{owner} publishes `{each}` too and comes first by name: clients get that one."
                    found[entry.name] = (*found.get(entry.name, ()), told)
        return found


def _stages(production: Version | None, staging: Staging | None) -> dict[str, str] | None:
    """The versions that have a stage which calls go to, by stage."""
    stages = {"production": str(production.number)} if production else {}
    if staging and str(staging.number) not in stages.values():
        stages["staging"] = str(staging.number)
    return stages or None


def entry(
    deployment: Deployment, state: State, *, problem: Problem | None = None, since: float = 0.0
) -> Entry:
    """How a deployment is doing."""
    made = Serving if deployment.version else Entry
    return made(deployment, state, problem, since)


def serving(found: Entry | None) -> Serving | None:
    """The entry if it can be called now, and not only later."""
    return found if isinstance(found, Serving) and found.manifest is not None else None
