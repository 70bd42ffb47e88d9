"""Component calls are told as steps, and those that were recorded are not made again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise
from typing import Any

import pytest
from haystack import Document, Pipeline, SuperComponent, component
from haystack.components.generators.chat import MockChatGenerator
from haystack.components.joiners import BranchJoiner
from haystack.components.routers import ConditionalRouter
from haystack.dataclasses import ByteStream, ChatMessage

from mcp_server.errors import Invalid
from mcp_server.models import Event, Json, Replay, StepDone
from mcp_server.pipelines.fast import FastPipeline
from mcp_server.pipelines.haystack import install
from mcp_server.pipelines.recording import MOST, Tape, record

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True, params=[Pipeline, FastPipeline])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of pipelines are recorded in the same way."""
    monkeypatch.setattr(sys.modules[__name__], "Pipeline", request.param)


@component
class Add:
    """Counts how often it really ran."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.runs = 0

    @component.output_types(value=int)
    def run(self, value: int, extra: int = 0) -> dict[str, int]:
        self.runs += 1
        return {"value": value + self.number + extra}


@component
class AsyncAdd(Add):
    @component.output_types(value=int)
    async def run_async(self, value: int, extra: int = 0) -> dict[str, int]:
        return self.run(value, extra)


class Own:
    """A class of an author: it has no JSON form."""


@component
class Give:
    """Gives what it was made with."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.runs = 0

    @component.output_types(value=object)
    def run(self) -> dict[str, Any]:
        self.runs += 1
        return {"value": self.value}


@component
class Fail:
    @component.output_types(value=int)
    def run(self, value: int) -> dict[str, int]:
        raise ValueError("too small")


@pytest.fixture(autouse=True)
def installed() -> None:
    install()


def chain(*parts: Any) -> Pipeline:
    """The parts as a, b, c, each giving its value to the next."""
    pipeline = Pipeline()
    names = "abcdef"[: len(parts)]
    for name, part in zip(names, parts, strict=True):
        pipeline.add_component(name, part)
    for first, second in pairwise(names):
        pipeline.connect(f"{first}.value", f"{second}.value")
    return pipeline


def run(pipeline: Pipeline, data: Json, replay: Replay | None = None) -> tuple[Json, list[StepDone]]:
    """What a recorded run gives and tells."""
    told: list[Event] = []

    def work() -> Json:
        record(Tape(replay or Replay(), told.append))
        return pipeline.run(data)

    given = copy_context().run(work)
    return given, [event for event in told if isinstance(event, StepDone)]


def labels(steps: Sequence[StepDone]) -> list[str]:
    return [step.label for step in steps]


def test_each_call_tells_what_it_got_and_gave() -> None:
    _, steps = run(chain(Add(1), Add(10)), {"a": {"value": 1}})
    assert [(step.label, step.began, step.got, step.gave) for step in steps] == [
        ("a", 0, {"value": 1, "extra": 0}, {"value": 2}),
        ("b", 1, {"value": 2, "extra": 0}, {"value": 12}),
    ]


def test_without_a_tape_nothing_is_told_and_nothing_changes() -> None:
    assert chain(Add(1), Add(10)).run({"a": {"value": 1}}) == {"b": {"value": 12}}


def test_recorded_calls_are_not_made_again_and_the_others_are() -> None:
    parts = Add(1), Add(10), Add(100)
    pipeline = chain(*parts)
    first, steps = run(pipeline, {"a": {"value": 1}})
    again, made = run(pipeline, {"a": {"value": 1}}, Replay(steps=tuple(steps[:2])))
    assert again == first
    assert labels(made) == ["c"]
    assert [part.runs for part in parts] == [1, 1, 2]


async def test_so_it_is_for_an_async_run() -> None:
    parts = AsyncAdd(1), Add(10), AsyncAdd(100)
    pipeline = chain(*parts)
    _, steps = run(pipeline, {"a": {"value": 1}})
    told: list[Event] = []

    async def work() -> Json:
        record(Tape(Replay(steps=tuple(steps[:2])), told.append))
        return await pipeline.run_async({"a": {"value": 1}})

    assert await asyncio.create_task(work()) == {"c": {"value": 112}}
    assert [part.runs for part in parts] == [1, 1, 2]
    assert len(told) == 1


def test_a_call_with_other_inputs_is_made_anew_and_so_is_what_depends_on_it() -> None:
    parts = Add(1), Add(10)
    pipeline = chain(*parts)
    _, steps = run(pipeline, {"a": {"value": 1}})
    given, made = run(pipeline, {"a": {"value": 2}}, Replay(steps=tuple(steps)))
    assert given == {"b": {"value": 13}}
    assert labels(made) == ["a", "b"]


def test_changed_inputs_are_typed_and_told() -> None:
    pipeline = chain(Add(1), Add(10))
    _, steps = run(pipeline, {"a": {"value": 1}})
    replay = Replay(steps=tuple(steps[:1]), changes={"b": {"extra": 1000}})
    given, made = run(pipeline, {"a": {"value": 1}}, replay)
    assert given == {"b": {"value": 1012}}
    assert (made[0].changed, made[0].got) == ({"extra": 1000}, {"value": 2, "extra": 1000})
    for values, told in (({"extra": "much"}, "`extra` of b"), ({"more": 1}, "no input more")):
        with pytest.raises(Invalid, match=told):
            run(pipeline, {"a": {"value": 1}}, Replay(changes={"b": values}))


def last(messages: list[ChatMessage]) -> str:
    """What the last message says."""
    return messages[-1].text or ""


def test_documents_and_messages_come_as_their_client_writes_them() -> None:
    pipeline = Pipeline()
    pipeline.add_component("llm", MockChatGenerator(response_fn=last))
    changed = {"messages": [{"role": "user", "content": "Hi"}]}
    given, _ = run(
        pipeline, {"llm": {"messages": [ChatMessage.from_user("Ho")]}}, Replay(changes={"llm": changed})
    )
    assert given["llm"]["replies"][0].text == "Hi"


def test_the_calls_of_a_loop_are_numbered_and_replayed_by_number() -> None:
    counter = Add(1)
    pipeline = Pipeline()
    pipeline.add_component("join", BranchJoiner(int))
    pipeline.add_component("add", counter)
    routes: Any = [
        {
            "condition": "{{value < 3}}",
            "output": "{{value}}",
            "output_name": "again",
            "output_type": int,
        },
        {"condition": "{{True}}", "output": "{{value}}", "output_name": "done", "output_type": int},
    ]
    pipeline.add_component("route", ConditionalRouter(routes))
    pipeline.connect("join.value", "add.value")
    pipeline.connect("add.value", "route.value")
    pipeline.connect("route.again", "join.value")
    first, steps = run(pipeline, {"join": {"value": 0}})
    assert [label for label in labels(steps) if label.startswith("add")] == ["add", "add#2", "add#3"]
    cut = labels(steps).index("add#3")
    again, made = run(pipeline, {"join": {"value": 0}}, Replay(steps=tuple(steps[:cut])))
    assert again == first == {"route": {"done": 3}}
    assert labels(made) == ["add#3", "route#3"]
    assert counter.runs == 4


def test_calls_inside_a_component_are_told_under_its_name() -> None:
    inner = Add(1), Add(10)
    outer: Any = SuperComponent(
        chain(*inner), input_mapping={"value": ["a.value"]}, output_mapping={"b.value": "value"}
    )
    pipeline = chain(outer, Add(100))
    first, steps = run(pipeline, {"a": {"value": 1}})
    assert labels(steps) == ["a.a", "a.b", "a", "b"]
    assert run(pipeline, {"a": {"value": 1}}, Replay(steps=(steps[2],)))[0] == first
    assert [part.runs for part in inner] == [1, 1], "what it gave is enough"
    _, made = run(pipeline, {"a": {"value": 1}}, Replay(steps=(steps[0],)))
    assert labels(made) == ["a.b", "a", "b"], "it goes on inside, where it was interrupted"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Own(), "JSON form"),
        (b"raw", "JSON form"),
        (float("nan"), "changed"),
        ({1: "a number as key"}, "JSON form"),
        ("x" * MOST, "bytes"),
    ],
)
def test_what_would_not_come_back_as_it_was_is_told_as_not_reusable(value: Any, why: str) -> None:
    giver = Give(value)
    pipeline = Pipeline()
    pipeline.add_component("give", giver)
    _, (step,) = run(pipeline, {})
    assert step.outputs is None
    assert step.lost is not None and why in step.lost
    run(pipeline, {}, Replay(steps=(step,)))
    assert giver.runs == 2


@pytest.mark.parametrize(
    "value",
    [
        [Document("text", meta={"page": 3}, embedding=[0.1, 0.2])],
        [ChatMessage.from_user("Hi", meta={"a": None})],
        ByteStream(b"\x00\xff", mime_type="image/png"),
        {"nested": [(1, "two"), {3.5, 4.5}], "empty": []},
        None,
    ],
)
def test_haystack_values_and_plain_ones_come_back_as_they_were(value: Any) -> None:
    giver = Give(value)
    pipeline = Pipeline()
    pipeline.add_component("give", giver)
    first, (step,) = run(pipeline, {})
    again, made = run(pipeline, {}, Replay(steps=(step,)))
    assert (again, made, giver.runs) == (first, [], 1)
    assert type(again["give"]["value"]) is type(value)


def test_a_failing_call_is_told_with_its_error_and_made_again() -> None:
    told: list[Event] = []
    pipeline = chain(Add(1), Fail())

    def work() -> None:
        record(Tape(Replay(), told.append))
        with pytest.raises(Exception, match="too small"):
            pipeline.run({"a": {"value": 1}})

    copy_context().run(work)
    failed = told[-1]
    assert isinstance(failed, StepDone)
    assert (failed.label, failed.error, failed.lost) == ("b", "b: ValueError: too small", None)


def test_the_tokens_of_replies_are_told() -> None:
    usage: Mapping[str, Any] = {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    pipeline = Pipeline()
    pipeline.add_component("llm", Replies([ChatMessage.from_assistant("a", meta=dict(usage))] * 2))
    _, (step,) = run(pipeline, {})
    assert step.tokens is not None
    assert (step.tokens.input, step.tokens.output) == (6, 8)


@component
class Replies:
    def __init__(self, replies: list[ChatMessage]) -> None:
        self.replies = replies

    @component.output_types(replies=list[ChatMessage])
    def run(self) -> dict[str, Any]:
        return {"replies": self.replies}


def test_many_runs_at_once_have_their_own_tapes() -> None:
    pipeline = chain(Add(1), Add(10))

    def one(number: int) -> tuple[Json, list[StepDone]]:
        return run(pipeline, {"a": {"value": number}})

    with ThreadPoolExecutor(8) as pool:
        for number, (given, steps) in enumerate(pool.map(one, range(100))):
            assert given == {"b": {"value": number + 11}}
            assert [step.got["value"] for step in steps] == [number, number + 1]
