"""Runs that wait without a host: an Agent wants a person's word, a pipeline returned a question."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, loaded, serve, until

from .conftest import wrapper
from .test_rest_following import following
from .test_session_tasks import Session
from .test_tasks import ASKING, Body, call, connected, reached, tasks

pytestmark = pytest.mark.anyio

PAYING = '''
"""A model that pays, then ships, then says that it is done; all write down that they ran."""

from typing import Annotated

from haystack.components.agents import Agent
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, ToolCall
from haystack.hooks.human_in_the_loop import ConfirmationHook
from haystack.tools import tool

from mcp_server import AskUser


def note(log, word):
    with open(log, "a") as file:
        file.write(f"{word} ")


@tool
def pay(log: Annotated[str, "Where"], amount: Annotated[int, "How much"]) -> str:
    """Pay money."""
    note(log, f"paid-{amount}")
    return f"paid {amount}"


@tool
def ship(log: Annotated[str, "Where"]) -> str:
    """Ship the goods."""
    note(log, "shipped")
    return "shipped"


def think(messages):
    log = messages[0].text
    note(log, "thought")
    results = [message.tool_call_result.result for message in messages if message.tool_call_result]
    if len(results) < 2:
        name, more = (("pay", {"amount": 100}), ("ship", {}))[len(results)]
        call = ToolCall(name, {"log": log, **more}, id=f"call-{len(results)}")
        return ChatMessage.from_assistant(tool_calls=[call])
    return ", ".join(results)


def agent():
    hooks = {"before_tool": [ConfirmationHook({"*": AskUser()})]}
    return Agent(chat_generator=MockChatGenerator(response_fn=think), tools=[pay, ship], hooks=hooks)
'''
EXPOSED = """
inputs: {log: agent.user}
outputs: {answer: agent.last_message}
"""
RESTARTABLE = """
from haystack import Pipeline
from haystack.dataclasses import ChatMessage
from mcp_server import PipelineWrapper as Base
from paying import agent


class PipelineWrapper(Base):
    restartable = True

    def setup(self):
        self.pipeline = Pipeline()
        self.pipeline.add_component("agent", agent())

    async def run_api_async(self, log: str) -> str:
        \"\"\"Pays and ships.\"\"\"
        given = {"agent": {"messages": [ChatMessage.from_user(log)]}}
        return (await self.pipeline.run_async(given))["agent"]["last_message"].text
"""
BOOKING = """
from mcp_server import Form

def note(log, word):
    with open(log, "a") as file:
        file.write(f"{word} ")

SEATS = {"type": "object", "properties": {"seats": {"type": "integer"}}, "required": ["seats"]}
MEAL = {"type": "object", "properties": {"meal": {"type": "string"}}}
"""
BOOK = '''
    def run_api(self, context: Context, log: str) -> str | Form | dict[str, Form]:
        """Books seats, and a meal for those."""
        note(log, "ran")
        if "answer" not in context.answers:
            return Form("How many seats?", SEATS)
        seats = context.answers["answer"].content.get("seats", 0)
        if "meal" not in context.answers:
            return {"meal": Form(f"Which meal for {seats}?", MEAL), "drink": Form("What to drink?", MEAL)}
        note(log, f"booked-{seats}")
        return f"{seats} seats, {context.answers['meal'].content['meal']}"
'''
ACCEPT = {"confirm": {}}


class Place:
    """A folder of such pipelines, and what ran."""

    def __init__(self, root: Path) -> None:
        self.log, self.folder, self.state = root / "log", root / "pipelines", root / "state"
        texts = {"book": BOOKING + wrapper(BOOK), "careful": RESTARTABLE, "echo": wrapper(ECHO)}
        for name, text in texts.items():
            (self.folder / name).mkdir(parents=True)
            (self.folder / name / "pipeline_wrapper.py").write_text(text)
        (self.folder / "shop.yml").write_text(yaml())

    def ran(self) -> Counter[str]:
        """How often each of them really ran."""
        return Counter(self.log.read_text().split() if self.log.exists() else ())

    def arguments(self) -> Body:
        return {"log": str(self.log)}


ECHO = '''
    def run_api(self, text: str) -> str:
        """Gives the text back."""
        return text
'''


def yaml() -> str:
    from haystack import Pipeline
    from haystack.components.builders import ChatPromptBuilder
    from haystack.dataclasses import ChatMessage
    from paying import agent  # pyright: ignore[reportMissingImports]

    pipeline = Pipeline()
    template = [ChatMessage.from_user("{{ log }}")]
    pipeline.add_component("prompt", ChatPromptBuilder(template=template, required_variables=["log"]))
    pipeline.add_component("agent", agent())  # pyright: ignore[reportUnknownArgumentType]
    pipeline.connect("prompt.prompt", "agent.messages")
    return pipeline.dumps() + "inputs: {log: prompt.log}\noutputs: {answer: agent.last_message}\n"


@pytest.fixture(scope="module", autouse=True)
def importable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The module of the agent, for this process and for servers."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "paying.py").write_text(PAYING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("HAYSTACK_DESERIALIZATION_ALLOWLIST", "paying,mcp_server.pipelines.confirmation")
        patch.setattr(sys, "path", [*sys.path, str(folder)])
        yield


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(240):  # two servers, one after the other, and a busy machine
        yield


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, importable: None) -> Place:
    return Place(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
async def served(shared: Place) -> AsyncIterator[Served]:
    async with serve(shared.folder, "--threads", "1", state=shared.state) as running:
        await loaded(running.url)
        yield running


@pytest.fixture
async def http(served: Served, shared: Place) -> AsyncIterator[httpx.AsyncClient]:
    shared.log.unlink(missing_ok=True)
    async with connected(served) as client:
        yield client


async def given(http: httpx.AsyncClient, tool: str, /, **arguments: Any) -> Body:
    """What a management tool answers."""
    answer = await call(http, tool, arguments, {})
    assert not answer["isError"], answer
    return answer["structuredContent"]


async def waiting(http: httpx.AsyncClient, run: str) -> Body:
    """The run once it waits, or has ended."""
    shown: Body = {}

    async def there() -> bool:
        shown.update(await given(http, "get_run", run_id=run))
        return shown["status"] != "running"

    await until(there, 60)
    return shown


async def started(http: httpx.AsyncClient, name: str, place: Place) -> str:
    run = (await given(http, "start_run", name=name, arguments=place.arguments()))["run_id"]
    assert (await waiting(http, run))["status"] == "waiting"
    return run


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_what_waits_when_the_server_ends_goes_on_with_its_answer_and_repeats_nothing(
    place: Place, end: signal.Signals
) -> None:
    async with serve(place.folder, state=place.state) as first, connected(first) as http:
        await loaded(first.url)
        runs = {name: await started(http, name, place) for name in ("shop", "careful", "book")}
        asked = {name: await given(http, "get_run", run_id=run) for name, run in runs.items()}
        first.process.send_signal(end)
        await first.process.wait()
    assert place.ran() == Counter({"thought": 2, "ran": 1})
    async with serve(place.folder, state=place.state) as second, connected(second) as http:
        await loaded(second.url)
        for name, run in runs.items():
            still = await given(http, "get_run", run_id=run)
            assert still["status"] == "waiting" and still["question"] == asked[name]["question"]
        assert place.ran() == Counter({"thought": 2, "ran": 1}), "what only waits does not run again"
        for name in ("shop", "careful"):
            paid = await given(http, "answer_run", run_id=runs[name], answers=ACCEPT)
            assert "ship" in paid["question"]["confirm"]["params"]["message"]
            done = await given(http, "answer_run", run_id=runs[name], answers=ACCEPT)
            assert done["status"] == "done" and "paid 100, shipped" in str(done["result"])
        seats = await given(http, "answer_run", run_id=runs["book"], answers={"answer": {"seats": 3}})
        assert [*seats["question"]] == ["meal", "drink"]
        meal = {"meal": {"meal": "soup"}, "drink": "decline"}
        done = await given(http, "answer_run", run_id=runs["book"], answers=meal)
        assert done["result"] == {"result": "3 seats, soup"}
    assert place.ran() == Counter(
        {"thought": 6, "paid-100": 2, "shipped": 2, "ran": 1 + 2 + 3, "booked-3": 1}
    )


async def test_an_answer_given_and_killed_before_the_next_question_is_not_asked_for_again(
    place: Place,
) -> None:
    async with serve(place.folder, state=place.state) as first, connected(first) as http:
        await loaded(first.url)
        run = await started(http, "shop", place)
        changed = {"confirm": {"amount": 7}}
        await given(http, "answer_run", run_id=run, answers=changed)
        first.process.kill()
        await first.process.wait()
    async with serve(place.folder, state=place.state) as second, connected(second) as http:
        await loaded(second.url)
        done = await given(http, "answer_run", run_id=run, answers={"confirm": "decline"})
        assert done["status"] == "done" and "paid 7" in str(done["result"])
    assert place.ran()["paid-7"] == 1 and not place.ran()["shipped"]


async def test_what_waits_holds_no_thread_and_the_steps_are_shown(
    http: httpx.AsyncClient, shared: Place
) -> None:
    runs = [await started(http, name, shared) for name in ("shop", "book", "shop", "book")]
    echoed = await call(http, "echo", {"text": "free"}, {})
    assert echoed["structuredContent"] == {"result": "free"}, "the host has one thread, and that is free"
    await given(http, "answer_run", run_id=runs[0], answers=ACCEPT)
    done = await given(http, "answer_run", run_id=runs[0], answers=ACCEPT)
    labels = [step["step"] for step in done["steps"]] if "steps" in done else []
    shown = labels or [step["step"] for step in (await given(http, "get_run", run_id=runs[0]))["steps"]]
    assert shown == [
        *("prompt", "agent.chat_generator", "agent.(question)", "agent.pay", "agent.chat_generator#2"),
        *("agent.(question)#2", "agent.ship", "agent.chat_generator#3", "agent"),
    ]
    for run in runs[1:]:
        assert (await given(http, "cancel_run", run_id=run))["status"] == "cancelled"
    assert (await waiting(http, runs[1]))["status"] == "cancelled"


@pytest.mark.parametrize("name", ["shop", "book"])
async def test_a_client_of_the_modern_era_answers_a_server_that_was_killed_meanwhile(
    place: Place, name: str
) -> None:
    async with serve(place.folder, state=place.state) as first, connected(first) as http:
        await loaded(first.url)
        asked = await call(http, name, place.arguments(), {"elicitation": {}})
        assert asked["resultType"] == "input_required"
        first.process.kill()
        await first.process.wait()
    accept = {"action": "accept", "content": {"seats": 3, "meal": "soup"}}
    async with serve(place.folder, state=place.state) as second, connected(second) as http:
        await loaded(second.url)
        for _ in range(2):
            answer = dict.fromkeys(asked["inputRequests"], accept)
            more = {"requestState": asked["requestState"], "inputResponses": answer}
            asked = await call(http, name, place.arguments(), {"elicitation": {}}, **more)
        assert asked["resultType"] == "complete" and not asked["isError"], asked
    once = {"shop": ("paid-100", "shipped"), "book": ("booked-3",)}[name]
    assert {word: place.ran()[word] for word in once} == dict.fromkeys(once, 1)


async def test_a_client_that_cannot_be_asked_is_told_of_the_run_that_waits(
    http: httpx.AsyncClient, shared: Place
) -> None:
    told = await call(http, "shop", shared.arguments(), {})
    assert told["isError"] and "answer_run" in told["content"][0]["text"]
    listed = await given(http, "list_runs", status="waiting")
    run = listed["runs"][0]["run_id"]
    assert run in told["content"][0]["text"]
    await given(http, "answer_run", run_id=run, answers=ACCEPT)
    assert (await given(http, "answer_run", run_id=run, answers={"confirm": "decline"}))["status"] == "done"
    again = await call(http, "answer_run", {"run_id": run, "answers": ACCEPT}, {})
    assert again["isError"] and "not waiting" in again["content"][0]["text"]


async def test_a_session_is_asked_in_place(http: httpx.AsyncClient, shared: Place) -> None:
    session = Session(http)
    await session.open(elicitation={})
    done = await session.ask("tools/call", name="shop", arguments=shared.arguments())
    assert "paid 100, shipped" in done["result"]["content"][0]["text"]
    assert shared.ran() == Counter({"thought": 3, "paid-100": 1, "shipped": 1})


async def test_a_task_of_a_session_asks_for_what_waits(http: httpx.AsyncClient, shared: Place) -> None:
    session = Session(http)
    await session.open(elicitation={})
    task = await session.begin("shop", shared.arguments())
    await session.reached(task["taskId"], "input_required")
    done = await session.ask("tasks/result", taskId=task["taskId"])
    assert "paid 100, shipped" in done["result"]["content"][0]["text"]
    assert shared.ran() == Counter({"thought": 3, "paid-100": 1, "shipped": 1})


async def test_a_task_takes_the_answers_to_what_waits_in_parts(
    http: httpx.AsyncClient, shared: Place
) -> None:
    created = await call(http, "start_run", {"name": "book", "arguments": shared.arguments()}, {})
    task = created["structuredContent"]["run_id"]
    asked = await reached(http, task, "input_required", capabilities=ASKING)
    accept = {"action": "accept", "content": {"seats": 2, "meal": "tea"}}
    await tasks(http, "update", task, ASKING, inputResponses=dict.fromkeys(asked["inputRequests"], accept))

    async def two() -> bool:
        asked.update(await tasks(http, "get", task, ASKING))
        return len(asked.get("inputRequests", ())) == 2

    await until(two, 20)
    for key in [*asked["inputRequests"]]:
        await tasks(http, "update", task, ASKING, inputResponses={key: accept})
    ended = await reached(http, task, "completed", "failed", capabilities=ASKING)
    assert ended["result"]["structuredContent"] == {"result": "2 seats, tea"}


async def test_another_server_on_the_state_takes_the_answer_and_who_follows_the_run_hears_all_of_it(
    http: httpx.AsyncClient, served: Served, shared: Place
) -> None:
    run = await started(http, "shop", shared)
    told: list[tuple[str, str, Body]] = []
    with anyio.fail_after(60):
        async with serve(shared.folder, state=shared.state) as other, connected(other) as there:
            await loaded(other.url)
            async with aclosing(following(http, run)) as events:
                async for identity, kind, data in events:
                    told.append((identity, kind, data))
                    if kind == "question":
                        by = (there, http)[data["number"] - 1]
                        await given(by, "answer_run", run_id=run, answers=ACCEPT)
    assert [kind for _, kind, _ in told] == ["question", "question", "end"]
    assert told[-1][2]["status"] == "done"
    ids = [int(identity) for identity, _, _ in told]
    assert ids == sorted({*ids}), "a client that comes back names the last one"
    over = await http.get(f"/runs/{run}/events", headers={"Last-Event-ID": str(ids[-1])})
    assert over.status_code == 204
    assert shared.ran() == Counter({"thought": 3, "paid-100": 1, "shipped": 1})


async def test_a_run_may_be_forked_at_its_question_with_another_answer(
    http: httpx.AsyncClient, shared: Place
) -> None:
    run = await started(http, "shop", shared)
    await given(http, "answer_run", run_id=run, answers={"confirm": "decline"})
    await given(http, "answer_run", run_id=run, answers={"confirm": "decline"})
    assert not shared.ran()["paid-100"]
    answer = {"confirm": {"action": "accept", "content": {}}}
    forked = await given(http, "fork_run", run_id=run, step="agent.(question)", inputs=answer)
    assert (await waiting(http, forked["run_id"]))["status"] == "waiting"
    assert shared.ran()["paid-100"] == 1
