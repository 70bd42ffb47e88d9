"""A pipeline as a value: its source, what it declares, what loading it revealed, how it is doing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from .base import Json, Kind, Noun, Recording, State, TaskUse, Verb
from .isolation import Isolation, Port, Provenance, Walls
from .texts import visible


class Source(Noun):
    """The code and text files of a pipeline; its digest is its identity.

    `files` maps a relative POSIX path to its bytes. `others` names the files that are too large or not
    text (models, indexes, images) by path, with their size in bytes and modification time in nanoseconds.
    """

    name: str
    files: Mapping[str, bytes]
    others: Mapping[str, tuple[int, int]] = Field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over every path, content and stamp; the name is no part of it."""
        total = hashlib.sha256()
        for path, content in sorted(self.files.items()):
            total.update(f"{len(path)}:{path}:{len(content)}:".encode() + content)
        for path, (size, modified) in sorted(self.others.items()):
            total.update(f"{len(path)}:{path}@{size}@{modified}".encode())
        return total.hexdigest()


class Options(Noun):
    """What a pipeline declares about itself; read from its files without running them.

    A wrapper declares these as class attributes, a YAML under `metadata.mcp` (the older spelling
    `metadata` works for the plain ones too).
    """

    title: str | None = None
    description: str | None = None
    annotations: Mapping[str, bool] = Field(default_factory=dict)
    """MCP's hints by wire name: readOnlyHint, destructiveHint, idempotentHint, openWorldHint."""
    timeout: float | None = Field(default=None, gt=0, description="Seconds a call may take.")
    concurrency: int | None = Field(default=None, ge=1, description="Calls that may run at once.")
    replicas: int = Field(default=1, ge=1, le=64, description="Processes that hold it at once.")
    group: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    engine: Literal["hosts", "local"] | None = None
    isolation: Literal["process", "sandbox"] | None = None
    env: tuple[str, ...] = Field(
        default=(), description="Names of environment variables handed to the pipeline."
    )
    allow_net: tuple[Port, ...] | None = Field(
        default=None, description="Ports it may connect to from a sandbox, or `*`."
    )
    tags: tuple[str, ...] = ()
    icons: tuple[Json, ...] = Field(default=(), description="MCP's icons, in wire form.")
    hidden: bool = Field(default=False, description="Not listed as an MCP tool.")
    record: Recording | None = Field(default=None, description="What history keeps of its runs.")
    cache: float | None = Field(default=None, gt=0, description="Seconds a result is given again.")
    restartable: bool = Field(default=False, description="Goes on by itself after its server died.")
    task: TaskUse = Field(default="auto", description="Which of its calls become tasks.")

    def hint(self, name: str) -> bool:
        """True if the annotation is declared as true."""
        return self.annotations.get(name, False)


class Problem(Noun):
    """Why something did not load: short, and safe to show to a caller."""

    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = self.file or ""
        if self.file and self.line:
            where += f", line {self.line}"
        where = where and f"{where}: "
        return where + self.message


class Manifest(Noun):
    """What loading a source revealed. `tool` is an MCP Tool in wire form, output schema included."""

    kind: Kind
    tool: Json
    blocking: bool
    """True if a call occupies a thread, false if it runs on the event loop."""
    streams: bool = False
    """True if it says by its signature that it returns a stream."""
    warnings: tuple[str, ...] = ()
    resources: tuple[Json, ...] = ()
    """What it publishes beside its tool: MCP Resources, ResourceTemplates and Prompts in wire form."""
    templates: tuple[Json, ...] = ()
    prompts: tuple[Json, ...] = ()
    asks: bool = False
    """True if its calls may wait for an answer and then begin anew: it returns questions, or an Agent of it
    wants a person's word."""
    verbs: tuple[Verb, ...] = ()
    """What it can be asked for besides calls: `chat`, `upload`."""
    steps: tuple[Json, ...] = ()
    """Of a step-wise pipeline, in order: objects with `name`, `description`, `template` and `models`."""
    models: tuple[str, ...] = ()
    """The names of the models that it declares."""

    @field_validator("tool")
    @classmethod
    def _tool(cls, value: Json) -> Json:
        return visible(value)

    @field_validator("resources", "templates", "prompts", "steps")
    @classmethod
    def _items(cls, value: tuple[Json, ...]) -> tuple[Json, ...]:
        return tuple(map(visible, value))


class Version(Noun):
    """A numbered, immutable source of a pipeline with what loading it revealed."""

    pipeline: str
    number: int
    digest: str
    created: float
    """Seconds since the epoch."""
    provenance: Provenance = "folder"
    manifest: Manifest | None = None
    options: Options = Options()


class Member(Noun):
    """A pipeline as an engine receives it: which source, where it lies, what it declared."""

    name: str
    digest: str
    root: Path
    """The folder that holds the files; loaded in place."""
    options: Options = Options()
    load: Callable[[], object] | None = Field(default=None, exclude=True, repr=False)
    """Gives the loaded pipeline, of one that code registered as an object. Cannot leave this process."""


class Group(Noun):
    """Pipelines that share a host and an isolation profile."""

    name: str
    members: tuple[Member, ...]
    env: tuple[str, ...] = ()
    """Names of the environment variables its host may see beyond the basic ones, sorted."""
    engine: Literal["hosts", "local"] | None = None
    """Where it runs; None for the engine of the settings."""
    walls: Walls | None = None
    """Around its host; None for none but the process."""
    refusal: str | None = None
    """Why it is not loaded at all."""
    replicas: int = 1
    """How many hosts hold all of its members."""


class Limits(Noun):
    """What a process that runs pipelines may use."""

    threads: int
    """Threads for pipelines that block."""
    result: int
    """Bytes of a result with all its artifacts."""
    text: int
    """Bytes of text that a result shows; the rest becomes an artifact."""
    inline: int = 1024 * 1024
    """Bytes of structured content that a result has, and of images and files."""
    fast_pipelines: bool = True
    """Whether Haystack pipelines run with cheaper copies and bookkeeping."""
    python_path: tuple[Path, ...] = ()
    """Folders whose modules pipelines can import."""
    otlp_endpoint: str | None = None
    """Where its spans go, if anywhere."""
    log_level: str = "warning"
    """How much it logs."""
    log_format: Literal["text", "json"] = "text"
    """How its lines look."""
    walls: Walls | None = None
    """What it may reach."""


class Status(Noun):
    """How a pipeline is doing, as callers see it."""

    name: str
    status: State
    version: str | None = Field(default=None, description="The version that serves.")
    digest: str | None = Field(default=None, description="SHA-256 of the serving source.")
    stages: Mapping[str, str] | None = Field(default=None, description="By stage, the version that has it.")
    share: float | None = Field(default=None, description="Share of the calls that go to staging.")
    kind: str | None = Field(default=None, description="How its source becomes a pipeline.")
    isolation: Isolation | None = Field(default=None, description="How far it is walled off.")
    replicas: Mapping[str, int] | None = Field(
        default=None, description="If it has several: the processes `wanted`, and those `serving`."
    )
    uptime: float = Field(default=0.0, description="Seconds since this version began to serve.")
    calls: int = Field(default=0, description="Calls since the server started.")
    errors: int = Field(default=0, description="How many of them failed.")
    description: str | None = None
    error: str | None = Field(default=None, description="What is wrong and what to mend.")
    warnings: tuple[str, ...] = ()
