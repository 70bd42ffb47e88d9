"""A run as a value: who calls, what for, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from pydantic import Field

from .base import Action, Json, Noun, RunStatus, Verb
from .events import Question, StepDone

RUN = "run:"
"""How the scope begins that is for one pipeline only."""


class Caller(Noun):
    """Who calls, from which surface, and what it may do. Of a caller, a run keeps name and origin."""

    name: str = "anyone"
    """Whose the runs are; the same for good, whichever credential proves it."""
    origin: str = "mcp"
    peer: str = ""
    """The address it calls from, as far as that is known; empty over stdio."""
    rate: int | None = None
    """Requests an hour that it may make; None for what the settings say, 0 for any."""
    per_second: float | None = None
    """Requests a second that it may make in the long run, and twice as many at once; None as above."""
    expires: float | None = None
    """Seconds since the epoch after which its token is no good; None for other credentials."""
    scopes: frozenset[str] = frozenset(get_args(Action))
    """Spelled out, none implies another: actions, and `run:NAME` to see and run that pipeline alone."""

    def may(self, action: Action, pipeline: str | None = None) -> bool:
        """True if it may do this with that pipeline; without one, if there is any pipeline that it may."""
        if action in self.scopes:
            return True
        if action not in ("read", "run"):
            return False
        if pipeline is None:
            return any(scope.startswith(RUN) for scope in self.scopes)
        return RUN + pipeline in self.scopes


class Upload(Noun):
    """A file that came with a call, on disk until the run has ended. Only the server makes one."""

    name: str
    """As it was sent, but always relative and inside: `docs/a.txt`."""
    mime_type: str | None = None
    path: Path
    address: str = ""
    """What stands for it in the arguments; equal for equal content."""


class Client(Noun):
    """The program the caller uses: what it can do, and what it sent along."""

    capabilities: Json = Field(default_factory=dict)
    """MCP's ClientCapabilities in wire form."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """The HTTP headers that pipelines may see, by lower-case name."""
    trace: Mapping[str, str] = Field(default_factory=dict)
    """What carries the caller's trace: `traceparent` and its kin (W3C Trace Context)."""
    uploads: Mapping[str, Upload] = Field(default_factory=dict)
    """The files that came with the call, by address."""


NO_CLIENT = Client()
"""One that can do nothing and sent nothing."""


class Fault(Noun):
    """A protocol error that a pipeline raised on purpose: JSON-RPC code, message and data."""

    code: int
    message: str
    data: Any = None


class Artifact(Noun):
    """What a run leaves beside its answer: a file, an image, a result that is too large to be shown."""

    name: str
    """Unique in its run."""
    mime_type: str
    content: bytes = Field(default=b"", repr=False)

    def uri(self, run: str) -> str:
        """Its address, given the id of its run."""
        return f"run://{run}/artifacts/{quote(self.name, safe='')}"


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
    artifacts: tuple[Artifact, ...] = ()
    """What the content links to."""
    refused: bool = False
    """True if the pipeline never ran because its arguments did not fit."""
    partial: bool = False
    """True if the structured content was shortened; an artifact has the whole."""


class Replay(Noun):
    """What a run whose components are recorded begins with: nothing, or a part of a recorded past."""

    steps: tuple[StepDone, ...] = ()
    """Calls whose outputs are used again; the same call with other inputs is made anew."""
    changes: Mapping[str, Json] = Field(default_factory=dict)
    """By label of a call, the values of the sockets that get others than the pipeline gives them; by the mark
    of a question, its answers."""
    parks: bool = False
    """True if the run may be stopped at a question, and be replayed once that is answered."""


class Run(Noun):
    """One call of a pipeline. Times are seconds since the epoch."""

    id: str
    pipeline: str
    version: int
    digest: str
    inputs: Json
    has_inputs: bool = True
    """False if its inputs were not recorded."""
    verb: Verb = "call"
    caller: Caller = Caller()
    client: Client = Field(default_factory=lambda: NO_CLIENT)  # a default would be copied each time
    request_id: str = ""
    """The id of the HTTP request that began it; the log names it."""
    timeout: float
    """Seconds the work may take; waiting for an answer does not count."""
    status: RunStatus = "running"
    question: Question | None = None
    """What it waits for: the requests that have no answer yet."""
    parked: bool = False
    """True if it waits as a row and nowhere else: whichever server hears the answer goes on with it."""
    result: Result | None = None
    error: str | None = None
    """Why it failed, in short; `interrupted` if its server stopped."""
    usage: Json | None = None
    parent: str | None = None
    """The run it was made from: the one it repeats or forks, or its batch."""
    step: str | None = None
    """Where in its parent: the step it was forked at, or its place in the batch."""
    key: str | None = None
    """The idempotency key its caller gave."""
    cached: bool = False
    """True if it was not begun for this call: its result was kept."""
    attempt: int = 1
    """Rises when another server goes on with it, and when it is rewound."""
    continues: bool = False
    """True if another server is to go on with it should this one end."""
    recorded: int = 0
    """Bytes of its recorded steps."""
    events: tuple[Json, ...] = ()
    """The last of what it told, if its components were recorded."""
    replay: Replay | None = None
    """Set on its way to the engine if its components are recorded."""
    started: float = Field(default_factory=time.time)
    finished: float | None = None

    @property
    def ended(self) -> bool:
        """True if nothing more will come of it."""
        return self.status in ("done", "failed", "cancelled")
