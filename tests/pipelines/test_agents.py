"""What an Agent does inside its call is recorded: a replayed run asks no model and calls no tool again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import copy_context
from typing import Annotated, Any

import pytest
from haystack import Pipeline
from haystack.components.agents import Agent, State
from haystack.components.generators.chat import MockChatGenerator
from haystack.core.errors import PipelineRuntimeError
from haystack.dataclasses import ChatMessage, ToolCall
from haystack.tools import tool

from mcp_server.models import Event, Json, Replay, StepDone
from mcp_server.pipelines.haystack import install
from mcp_server.pipelines.recording import Tape, record

RAN: Counter[str] = Counter()


@tool
def double(number: Annotated[int, "What to double"]) -> int:
    """Doubles a number."""
    RAN["double"] += 1
    return 2 * number


@tool
def fail(number: Annotated[int, "Any"]) -> int:
    """Fails."""
    RAN["fail"] += 1
    raise ValueError("too small")


@tool
def remember(state: State) -> str:
    """Changes the state of its agent."""
    RAN["remember"] += 1
    state.set("note", "remembered")
    return "yes"


def calling(*calls: tuple[str, Json]) -> Pipeline:
    """An agent in a pipeline, whose model calls these tools at once, and then says what came of it."""

    def think(messages: list[ChatMessage]) -> str | ChatMessage:
        RAN["model"] += 1
        results = [str(each.tool_call_result.result) for each in messages if each.tool_call_result]
        if results:
            return ", ".join(results)
        wanted = [ToolCall(name, given, id=str(place)) for place, (name, given) in enumerate(calls)]
        return ChatMessage.from_assistant(tool_calls=wanted)

    agent = Agent(
        chat_generator=MockChatGenerator(response_fn=think),
        tools=[double, fail, remember],
        state_schema={"note": {"type": str}},
    )
    pipeline = Pipeline()
    pipeline.add_component("agent", agent)
    return pipeline


@pytest.fixture(autouse=True)
def installed() -> None:
    install()
    RAN.clear()


def in_thread(pipeline: Pipeline, data: Json) -> Json:
    return pipeline.run(data)


def on_loop(pipeline: Pipeline, data: Json) -> Json:
    return asyncio.run(pipeline.run_async(data))


@pytest.fixture(params=[in_thread, on_loop])
def way(request: pytest.FixtureRequest) -> Callable[[Pipeline, Json], Json]:
    return request.param


def run(pipeline: Pipeline, way: Any, replay: Replay | None = None) -> tuple[str, list[StepDone], list[bool]]:
    """What the agent says in the end, the steps, and after each of them if the run could be stopped there."""
    steps: list[StepDone] = []
    stops: list[bool] = []

    def hear(event: Event) -> None:
        assert isinstance(event, StepDone)
        steps.append(event)
        stops.append(tape.can_stop(f"{event.label}."))

    tape = Tape(replay or Replay(parks=True), hear)

    def work() -> Json:
        record(tape)
        return way(pipeline, {"agent": {"messages": [ChatMessage.from_user("Go")]}})

    said = copy_context().run(work)["agent"]["last_message"].text
    return said, steps, stops


def test_the_replies_of_the_model_and_the_results_of_tools_are_steps_and_not_made_again(way: Any) -> None:
    agent = calling(("double", {"number": 21}), ("double", {"number": 4}))
    said, steps, _ = run(agent, way)
    assert said == "42, 8" and Counter({"model": 2, "double": 2}) == RAN
    labels = [step.label for step in steps]
    assert labels[0] == "agent.chat_generator" and labels[-2:] == ["agent.chat_generator#2", "agent"]
    assert {step.label: step.gave for step in steps if "double" in step.label} == {
        "agent.double": {"result": 42},
        "agent.double#2": {"result": 8},
    }
    RAN.clear()
    assert run(agent, way, Replay(steps=tuple(steps[:-1])))[0] == said
    assert Counter() == RAN


def test_a_tool_that_failed_has_failed_in_a_replay_too(way: Any) -> None:
    agent = calling(("fail", {"number": 1}))
    said, steps, stops = run(agent, way)
    failed = next(step for step in steps if step.label == "agent.fail")
    assert "too small" in said and failed.error and failed.outputs is not None and stops[-1]
    RAN.clear()
    assert run(agent, way, Replay(steps=tuple(steps[:-1])))[0] == said
    assert Counter() == RAN


def test_a_run_cannot_be_stopped_and_replayed_behind_a_tool_that_has_the_state(way: Any) -> None:
    said, steps, stops = run(calling(("remember", {})), way)
    assert said == "yes"
    used = next(step for step in steps if step.label == "agent.remember")
    assert used.lost and used.outputs is None
    assert dict(zip([step.label for step in steps], stops, strict=True)) == {
        "agent.chat_generator": True,
        "agent.remember": False,
        "agent.chat_generator#2": False,
        "agent": True,  # what it gave is kept, so nothing inside is run again
    }


def test_a_call_of_a_tool_may_be_made_again_with_other_arguments(way: Any) -> None:
    agent = calling(("double", {"number": 21}))
    _, steps, _ = run(agent, way)
    kept = tuple(step for step in steps if step.label == "agent.chat_generator")
    changed = Replay(steps=kept, changes={"agent.double": {"number": 5}})
    assert run(agent, way, changed)[0] == "10"
    with pytest.raises(PipelineRuntimeError, match="cannot be changed"):
        run(agent, way, Replay(changes={"agent.chat_generator": {"messages": []}}))


def test_without_a_tape_an_agent_is_what_it_was(way: Any) -> None:
    given = way(calling(("double", {"number": 2})), {"agent": {"messages": [ChatMessage.from_user("Go")]}})
    assert given["agent"]["last_message"].text == "4"
