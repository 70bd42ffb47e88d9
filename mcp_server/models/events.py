"""What a run says while it goes, and what it asks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from .base import Json, Level, Noun


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


class Aside(Noun):
    """What a chat hears beside the text: a piece of the model's reasoning, or something to be displayed."""

    kind: Literal["aside"] = "aside"
    reasoning: str = ""
    display: Json | None = None
    """`type` and `data` of an event for a chat window, as Open WebUI defines them."""


class Log(Noun):
    """A line a pipeline logged for its caller."""

    kind: Literal["log"] = "log"
    level: Level = "info"
    data: Any
    logger: str | None = None


class Tokens(Noun):
    """What a model read and wrote."""

    input: int
    output: int


class Response(Noun):
    """What one model said to the prompt of a step; without text it has an `error`."""

    kind: Literal["response"] = "response"
    index: int
    """Its place among the responses of its step, from 0."""
    asked: str
    """The model that was asked first; `model` is the one that answered, or failed last."""
    model: str
    prompt: str
    text: str | None = None
    tokens: Tokens | None = None
    cost: float | None = None
    """US dollars; None if no price is declared or the model did not tell its tokens."""
    seconds: float
    error: str | None = None
    notes: tuple[str, ...] = ()
    """What was tried: failures, tries, models that took over."""


class StepDone(Noun):
    """One call of a component that has ended, as far as it can be kept."""

    kind: Literal["step"] = "step"
    component: str
    """Its name; inside another component's call, the label of that one and a dot come first."""
    visit: int
    """The how-manieth call of that name it is in its run, from 1."""
    began: int
    """How many calls of the run had ended when it began."""
    started: float
    """Seconds since the epoch."""
    seconds: float
    error: str | None = None
    digest: str | None = None
    """SHA-256 of its inputs before any was changed; None if they have no JSON form."""
    inputs: str | None = None
    outputs: str | None = None
    """JSON with a schema beside the data, as Haystack writes it; None if it cannot be, or is too large."""
    changed: Json = Field(default_factory=dict)
    """By socket, the inputs that its caller changed."""
    lost: str | None = None
    """Why its outputs cannot be used again; None if they can, or if it failed."""
    tokens: Tokens | None = None

    @property
    def label(self) -> str:
        """How it is named in its run: the component, with `#2` for its second call."""
        return self.component if self.visit == 1 else f"{self.component}#{self.visit}"

    @property
    def got(self) -> Json:
        """By socket, its inputs without their schema, as far as they are kept."""
        return json.loads(self.inputs)["serialized_data"] if self.inputs else {}

    @property
    def gave(self) -> Json:
        """By socket, its outputs without their schema, as far as they are kept."""
        return json.loads(self.outputs)["serialized_data"] if self.outputs else {}


class Question(Noun):
    """What a run asks its caller. The run waits until each request has its answer."""

    kind: Literal["question"] = "question"
    number: int
    """Rises with each question of the run."""
    requests: Mapping[str, Json]
    """By key: an MCP request in wire form, `elicitation/create`, `sampling/createMessage` or `roots/list`."""
    mark: str | None = None
    """By what a replay of the run knows its answers; None if the run has to wait where it runs."""
    given: Mapping[str, Json] = Field(default_factory=dict)
    """Answers that came before those to `requests`."""


class Notice(Noun):
    """What a run wants clients to hear: a list or a resource changed, or that its stream may close."""

    kind: Literal["notice"] = "notice"
    what: Literal["tools", "prompts", "resources", "resource", "stream"]
    uri: str | None = None


Answers = Mapping[str, Json]
"""By the key of the request: the MCP result in wire form. A key that is missing was not answered."""
Event = Annotated[
    Progress | Chunk | Aside | Log | Response | StepDone | Question | Notice, Field(discriminator="kind")
]
Emit = Callable[[Event], Awaitable[Answers | None]]
"""Told about every event of a run, in order; gives the answers to a question, None for anything else."""
