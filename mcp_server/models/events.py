"""What a run says while it goes, and what it asks."""

from __future__ import annotations

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
Event = Annotated[Progress | Chunk | Aside | Log | Response | Question | Notice, Field(discriminator="kind")]
Emit = Callable[[Event], Awaitable[Answers | None]]
"""Told about every event of a run, in order; gives the answers to a question, None for anything else."""
