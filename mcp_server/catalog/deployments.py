"""What is to serve under each name, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from ..models import Manifest, Options, Problem, Provenance, Version
from ..store.records import Staging

Origin = Literal["folder", "upload", "code"]
"""`code`: an object that the embedding program registered."""


@dataclass(frozen=True)
class Deployment:
    """A source that is to serve under a name, or why it cannot (`problem`)."""

    name: str
    origin: Origin
    digest: str = ""
    root: Path = Path()
    options: Options = field(default_factory=lambda: Options())
    version: Version | None = None
    """None until it has loaded once; its manifest is None until it is known, from loading or the cache."""
    kept: bool = True
    """False for what ends with the server."""
    provenance: Provenance = "folder"
    """How its files came; a version of the folder that was pinned is served as an upload."""
    load: Callable[[], object] | None = None
    """Of the origin `code`: gives the loaded pipeline."""
    problem: Problem | None = None
    warnings: tuple[str, ...] = ()

    def same_source(self, other: Deployment | None) -> bool:
        """True if the other one loads the same files in the same way."""
        return other is not None and (self.digest, self.options) == (other.digest, other.options)

    def with_manifest(self, manifest: Manifest) -> Deployment:
        """The same, loaded. Its version must be known."""
        assert self.version is not None
        return replace(self, version=self.version.model_copy(update={"manifest": manifest}))


Deployments = Mapping[str, Deployment]
"""By name."""


@dataclass(frozen=True)
class Wanted:
    """What the folder, the store and callers want to be served. A value; changes make a new one."""

    folder: Deployments = field(default_factory=dict[str, Deployment])
    uploads: Deployments = field(default_factory=dict[str, Deployment])
    """The upload that was last deployed under a name, or the version a person pinned; it goes before the
    folder's pipeline."""
    unkept: Deployments = field(default_factory=dict[str, Deployment])
    """What is not stored: such uploads, and what code registered. It goes before everything."""
    undeployed: frozenset[str] = frozenset()
    """Names whose stored or folder pipeline is not to be served."""
    staged: Mapping[str, Staging] = field(default_factory=dict[str, Staging])
    """What is in staging, by name."""

    @cached_property
    def deployments(self) -> Deployments:
        """What is to serve, by name; one with a problem cannot."""
        stored = {**self.folder, **self.uploads}
        return {name: each for name, each in stored.items() if name not in self.undeployed} | dict(
            self.unkept
        )

    @cached_property
    def resting(self) -> Deployments:
        """What was undeployed and can be deployed again."""
        stored = {**self.folder, **self.uploads}
        return {
            name: each for name, each in stored.items() if name in self.undeployed and name not in self.unkept
        }

    def with_served(self, deployment: Deployment) -> Wanted:
        """A caller deployed it: it goes before what else has its name."""
        name = deployment.name
        if not deployment.kept:
            return replace(self, unkept={**self.unkept, name: deployment})
        others = _without(self.uploads, name)
        uploaded = deployment.origin == "upload"
        return replace(
            self,
            folder=self.folder if uploaded else {**self.folder, name: deployment},
            uploads={**others, name: deployment} if uploaded else others,
            unkept=_without(self.unkept, name),
            undeployed=self.undeployed - {name},
        )

    def with_staged(self, name: str, staging: Staging | None) -> Wanted:
        """A person put a version of the name in staging, or took it from there."""
        others = {key: each for key, each in self.staged.items() if key != name}
        return replace(self, staged={**others, name: staging} if staging else others)

    def without(self, name: str) -> Wanted:
        """A caller undeployed the name."""
        stored = name in self.folder or name in self.uploads
        undeployed = self.undeployed | {name} if stored else self.undeployed
        return replace(self, unkept=_without(self.unkept, name), undeployed=undeployed)

    def read_again(
        self,
        folder: Deployments,
        uploads: Deployments,
        undeployed: frozenset[str],
        staged: Mapping[str, Staging],
    ) -> Wanted:
        """What the folder and the store say now. A newer decision goes before an unkept upload."""
        now = Wanted(folder, uploads, {}, undeployed, staged)
        same = {name for name in self.unkept if self._decision(name) == now._decision(name)}
        return replace(now, unkept={name: each for name, each in self.unkept.items() if name in same})

    def _decision(self, name: str) -> tuple[str, bool]:
        upload = self.uploads.get(name)
        return (upload.digest if upload else "", name in self.undeployed)


def _without(deployments: Deployments, name: str) -> Deployments:
    return {key: each for key, each in deployments.items() if key != name}
