"""The nouns: frozen values that are stored, sent and logged.

Light on purpose: hosts import this module too, so it knows neither the MCP SDK nor Haystack. A tool is
kept in MCP's own wire form (a JSON object with `name`, `inputSchema`, …).
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["wrapper", "yaml"]
State = Literal["running", "loading", "error", "undeployed"]
Verb = Literal["call", "read", "prompt", "complete"]
"""What a run does with its pipeline: call it, read a resource, fill a prompt, complete an argument."""
Level = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
Json = dict[str, Any]
"""A JSON object whose keys are not ours to know: a schema, a tool, a call's arguments."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a pipeline may be called: also its tool's name, so it keeps to what every client accepts."""


class Noun(BaseModel):
    """Base of every value: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


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
    group: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    engine: Literal["hosts", "local"] | None = None
    env: tuple[str, ...] = Field(
        default=(), description="Names of environment variables handed to the pipeline."
    )
    tags: tuple[str, ...] = ()
    hidden: bool = Field(default=False, description="Not listed as an MCP tool.")

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
    warnings: tuple[str, ...] = ()


class Version(Noun):
    """A numbered, immutable source of a pipeline with what loading it revealed."""

    pipeline: str
    number: int
    digest: str
    created: float
    """Seconds since the epoch."""
    manifest: Manifest | None = None
    options: Options = Options()


class Member(Noun):
    """A pipeline as an engine receives it: which source, where it lies, what it declared."""

    name: str
    digest: str
    root: Path
    """The folder that holds the files; loaded in place."""
    options: Options = Options()


class Group(Noun):
    """Pipelines that share a host and an isolation profile."""

    name: str
    members: tuple[Member, ...]
    env: tuple[str, ...] = ()
    """Names of the environment variables its host may see beyond the basic ones, sorted."""
    engine: Literal["hosts", "local"] | None = None
    """Where it runs; None for the engine of the settings."""


class Limits(Noun):
    """What a process that runs pipelines may use."""

    threads: int
    """Threads for pipelines that block."""
    result: int
    """Bytes of a result, content and structured content together."""


class Caller(Noun):
    """Who calls, and from which surface."""

    name: str = "anyone"
    origin: str = "mcp"


class Client(Noun):
    """The program the caller uses: what it can do, and what it sent along."""

    capabilities: Json = Field(default_factory=dict)
    """MCP's ClientCapabilities in wire form."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """The HTTP headers that pipelines may see, by lower-case name."""


class Fault(Noun):
    """A protocol error that a pipeline raised on purpose: JSON-RPC code, message and data."""

    code: int
    message: str
    data: Any = None


class Result(Noun):
    """What a call gave, as JSON made once where the pipeline ran; surfaces join the bytes.

    `content` is a JSON array of MCP content blocks, `structured` a JSON object or None. With `is_error`
    the content is one text block with the reason.
    """

    content: bytes
    structured: bytes | None = None
    is_error: bool = False
    fault: Fault | None = None
    """Set if the failure is to be a protocol error where the surface has such."""


class Run(Noun):
    """One call of a pipeline. Times are seconds since the epoch."""

    id: str
    pipeline: str
    version: int
    digest: str
    inputs: Json
    verb: Verb = "call"
    caller: Caller = Caller()
    client: Client = Client()
    timeout: float
    """Seconds the work may take; waiting for an answer does not count."""
    status: Literal["queued", "running", "waiting", "done", "failed", "cancelled"] = "running"
    result: Result | None = None
    started: float = Field(default_factory=time.time)
    finished: float | None = None


class Progress(Noun):
    """How far a run is: `done` of `total` (any unit, rising), and a short message."""

    kind: Literal["progress"] = "progress"
    done: float
    total: float | None = None
    message: str | None = None


class Chunk(Noun):
    """A piece of streamed text; `source` names the component or model it came from."""

    kind: Literal["chunk"] = "chunk"
    text: str
    source: str | None = None


class Log(Noun):
    """A line a pipeline logged for its caller."""

    kind: Literal["log"] = "log"
    level: Level = "info"
    data: Any
    logger: str | None = None


class Question(Noun):
    """What a run asks its caller. The run waits until each request has its answer."""

    kind: Literal["question"] = "question"
    number: int
    """Rises with each question of the run."""
    requests: Mapping[str, Json]
    """By key: an MCP request in wire form, `elicitation/create`, `sampling/createMessage` or `roots/list`."""


class Notice(Noun):
    """What a run wants clients to hear: a list or a resource changed, or that its stream may close."""

    kind: Literal["notice"] = "notice"
    what: Literal["tools", "prompts", "resources", "resource", "stream"]
    uri: str | None = None


Answers = Mapping[str, Json]
"""By the key of the request: the MCP result in wire form. A key that is missing was not answered."""
Event = Annotated[Progress | Chunk | Log | Question | Notice, Field(discriminator="kind")]
Emit = Callable[[Event], Awaitable[Answers | None]]
"""Told about every event of a run, in order; gives the answers to a question, None for anything else."""


class Status(Noun):
    """How a pipeline is doing, as callers see it."""

    name: str
    status: State
    version: str | None = Field(default=None, description="The version that serves.")
    digest: str | None = Field(default=None, description="SHA-256 of the serving source.")
    kind: str | None = Field(default=None, description="How its source becomes a pipeline.")
    uptime: float = Field(default=0.0, description="Seconds since this version began to serve.")
    calls: int = Field(default=0, description="Calls since the server started.")
    errors: int = Field(default=0, description="How many of them failed.")
    description: str | None = None
    error: str | None = Field(default=None, description="What is wrong and what to mend.")
    warnings: tuple[str, ...] = ()
