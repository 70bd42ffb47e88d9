"""An Agent asks the MCP user before it acts: accepted, changed, rejected; sync, async, and from a YAML."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from haystack import Pipeline
from haystack.components.agents import Agent
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, ToolCall
from haystack.hooks.human_in_the_loop import ConfirmationHook
from haystack.tools import tool

from mcp_server import AskUser
from mcp_server.errors import Broken
from mcp_server.models import Caller, Json
from mcp_server.pipelines import load
from mcp_server.pipelines.confirmation import Confirmation
from mcp_server.pipelines.context import Context, current

pytestmark = pytest.mark.anyio

Way = Literal["sync", "async", "pipeline", "pipeline_async"]
ORDER = {"to": "Ada", "amount": 100, "urgent": False, "notes": ["rent"]}


@tool
def pay(to: str, amount: float, urgent: bool = False, notes: list[str] | None = None) -> str:
    """Pay money to somebody."""
    return f"paid {amount} to {to}, urgent {urgent}, notes {notes}"


def think(messages: list[ChatMessage]) -> str | ChatMessage:
    """Pays at first, then repeats what came of it."""
    last = messages[-1]
    if result := last.tool_call_result:
        return str(result.result)
    return ChatMessage.from_assistant(tool_calls=[ToolCall("pay", ORDER, id="call-1")])


def agent() -> Agent:
    hook = ConfirmationHook({"*": AskUser()})
    return Agent(
        chat_generator=MockChatGenerator(response_fn=think), tools=[pay], hooks={"before_tool": [hook]}
    )


class Desk:
    """Where the questions of a run arrive and are answered, each with the same result."""

    def __init__(self, result: Json | None) -> None:
        self.result = result
        self.requests: list[Json] = []

    def ask(self, requests: Mapping[str, Json], *, parks: bool = False) -> Future[Mapping[str, Json]]:
        self.requests.extend(requests.values())
        future: Future[Mapping[str, Json]] = Future()
        future.set_result({} if self.result is None else dict.fromkeys(requests, self.result))
        return future


@contextmanager
def run_of(desk: Desk) -> Iterator[None]:
    """Code in this block belongs to a run whose questions go to the desk."""
    token = current.set(Context("run", Caller(), lambda event: None, None, desk.ask))
    try:
        yield
    finally:
        current.reset(token)


def in_thread(work: Callable[[], Any]) -> Any:
    """What the work gives in a thread that inherits the run, as the engine starts it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, work).result()


async def asked(way: Way) -> str:
    """What the agent says in the end, run in one of the ways there are."""
    question = [ChatMessage.from_user("Pay the rent")]
    if way == "async":
        return (await agent().run_async(messages=question))["last_message"].text
    if way == "sync":
        return in_thread(lambda: agent().run(messages=question))["last_message"].text
    pipeline = Pipeline()
    pipeline.add_component("agent", agent())
    data = {"agent": {"messages": question}}
    if way == "pipeline":
        found = in_thread(lambda: pipeline.run(data))
    else:
        found = await pipeline.run_async(data)
    return found["agent"]["last_message"].text


@pytest.fixture(params=["sync", "async", "pipeline", "pipeline_async"])
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


async def test_accepted_the_tool_gets_what_the_model_wanted(way: Way) -> None:
    desk = Desk({"action": "accept", "content": {}})
    with run_of(desk):
        assert await asked(way) == "paid 100 to Ada, urgent False, notes ['rent']"
    (request,) = desk.requests
    assert "pay" in request["params"]["message"] and "Pay money" in request["params"]["message"]
    fields = request["params"]["requestedSchema"]["properties"]
    assert {name: field["default"] for name, field in fields.items() if name in ORDER} == {
        **ORDER,
        "notes": '["rent"]',
    }
    assert list(fields)[-2:] == ["decision", "feedback"]


async def test_changed_the_tool_gets_what_the_person_wrote(way: Way) -> None:
    content = {"to": "Grace", "amount": 99.5, "urgent": True, "notes": '["half"]', "decision": "accept"}
    with run_of(Desk({"action": "accept", "content": content})):
        assert await asked(way) == "paid 99.5 to Grace, urgent True, notes ['half']"


async def test_rejected_the_tool_is_not_called_and_the_model_reads_why(way: Way) -> None:
    content = {"decision": "reject", "feedback": "Too much"}
    with run_of(Desk({"action": "accept", "content": content})):
        said = await asked(way)
    assert "rejected" in said and "Too much" in said and "paid" not in said


@pytest.mark.parametrize("result", [{"action": "decline"}, {"action": "cancel"}, None])
async def test_a_form_that_was_declined_closed_or_never_answered_rejects(result: Json | None) -> None:
    with run_of(Desk(result)):
        assert "rejected" in await asked("async")


@pytest.mark.parametrize("content", [{"notes": "no json"}, {"amount": "much"}, {"decision": "maybe"}])
async def test_a_change_that_cannot_be_read_rejects_and_says_so(content: Json) -> None:
    with run_of(Desk({"action": "accept", "content": content})):
        said = await asked("async")
    assert "rejected" in said and "could not be read" in said and "paid" not in said


async def test_a_change_with_a_feedback_tells_the_model_both() -> None:
    question = Confirmation("pay", "Pay.", {"amount": 1}, "call-1")
    decision = question.read({"action": "accept", "content": {"amount": 2, "feedback": "rounded"}})
    assert (decision.execute, decision.final_tool_params) == (True, {"amount": 2})
    assert "'amount': 2" in str(decision.feedback) and "rounded" in str(decision.feedback)


def test_a_whole_number_stays_whole() -> None:
    decision = Confirmation("pay", "", {"amount": 1}, None).read(
        {"action": "accept", "content": {"amount": 2.0}}
    )
    assert repr(decision.final_tool_params) == "{'amount': 2}"


def test_a_parameter_may_have_the_name_of_a_field_of_ours() -> None:
    question = Confirmation("rate", "", {"decision": "yes", "feedback": "good"}, None)
    assert list(question.request()["params"]["requestedSchema"]["properties"]) == [
        *("decision", "feedback", "decision_", "feedback_"),
    ]
    kept = question.read({"action": "accept", "content": {"decision": "reject"}})
    assert (kept.execute, kept.final_tool_params) == (True, {"decision": "reject", "feedback": "good"})
    assert not question.read({"action": "accept", "content": {"decision_": "reject"}}).execute


def test_long_parameters_are_cut_in_the_message_and_whole_in_the_form() -> None:
    params = Confirmation("write", "", {"text": "x" * 10_000}, None).request()["params"]
    assert len(params["message"]) < 1500
    assert len(params["requestedSchema"]["properties"]["text"]["default"]) == 10_000


async def test_a_sync_run_on_the_event_loop_is_told_what_to_do() -> None:
    with run_of(Desk(None)), pytest.raises(RuntimeError, match="run_async"):
        agent().run(messages=[ChatMessage.from_user("Pay")])


async def test_outside_of_a_run_nobody_can_be_asked() -> None:
    with pytest.raises(RuntimeError, match="mcp-server"):
        await agent().run_async(messages=[ChatMessage.from_user("Pay")])


async def test_two_runs_at_once_ask_their_own_people() -> None:
    async def pay_as(name: str) -> str:
        with run_of(Desk({"action": "accept", "content": {"to": name}})):
            await anyio.lowlevel.checkpoint()
            return await asked("pipeline_async")

    said = await asyncio.gather(*(pay_as(name) for name in ("Ada", "Grace", "Linus")))
    assert [line.split()[3].rstrip(",") for line in said] == ["Ada", "Grace", "Linus"]


@tool
def delegate() -> str:
    """Have another agent do it."""
    return agent().run(messages=[ChatMessage.from_user("Pay the rent")])["last_message"].text


def hand_on(messages: list[ChatMessage]) -> str | ChatMessage:
    """Delegates, then repeats what came of it."""
    if result := messages[-1].tool_call_result:
        return str(result.result)
    return ChatMessage.from_assistant(tool_calls=[ToolCall("delegate", {}, id="call-0")])


async def test_an_agent_that_another_agent_uses_as_a_tool_asks_too() -> None:
    outer = Agent(chat_generator=MockChatGenerator(response_fn=hand_on), tools=[delegate])
    question = [ChatMessage.from_user("Pay the rent")]
    with run_of(Desk({"action": "accept", "content": {"to": "Grace"}})):
        for said in (
            in_thread(lambda: outer.run(messages=question)),
            await outer.run_async(messages=question),
        ):
            assert said["last_message"].text.startswith("paid 100 to Grace")


def folder(tmp_path: Path, strategy: str) -> Path:
    """A YAML with an agent that may run nothing but a prompt builder, and asks before it does."""
    generator = {"type": "haystack.components.generators.chat.mock.MockChatGenerator", "init_parameters": {}}
    component = {
        "type": "haystack.components.builders.prompt_builder.PromptBuilder",
        "init_parameters": {"template": "Hello {{ name }}"},
    }
    greet = {
        "type": "haystack.tools.component_tool.ComponentTool",
        "data": {"component": component, "name": "greet", "description": "Greet."},
    }
    hook = {
        "type": "haystack.hooks.human_in_the_loop.hooks.ConfirmationHook",
        "init_parameters": {"confirmation_strategies": {"*": {"type": strategy, "init_parameters": {}}}},
    }
    parameters = {"chat_generator": generator, "tools": [greet], "hooks": {"before_tool": [hook]}}
    kind = "haystack.components.agents.agent.Agent"
    text = {"components": {"agent": {"type": kind, "init_parameters": parameters}}, "connections": []}
    (tmp_path / "agent.yml").write_text(json.dumps(text))
    return tmp_path


def test_a_yaml_may_name_the_strategy(tmp_path: Path) -> None:
    load("agent", folder(tmp_path, "mcp_server.pipelines.confirmation.AskUser")).close()


@pytest.mark.parametrize(
    "strategy",
    ["mcp_server.pipelines.context.Context", "mcp_server.server.Server", "mcp_server.cli.commands.program"],
)
def test_a_yaml_may_name_nothing_else_of_this_server(tmp_path: Path, strategy: str) -> None:
    with pytest.raises(Broken, match="may not load from the module"):
        load("agent", folder(tmp_path, strategy))


def test_it_survives_being_written_and_read() -> None:
    pipeline = Pipeline()
    hook = ConfirmationHook({"*": AskUser()})
    quiet = Agent(chat_generator=MockChatGenerator("hi"), tools=[], hooks={"before_tool": [hook]})
    pipeline.add_component("agent", quiet)
    text = pipeline.dumps()
    assert "mcp_server.pipelines.confirmation.AskUser" in text
    assert Pipeline.loads(text, allowed_modules=["mcp_server.pipelines.confirmation"]).dumps() == text
