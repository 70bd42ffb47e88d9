"""A step-wise pipeline over MCP: its tool, the tools that move a run, and the choice asked for in place."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served, serve
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.shared.subscriptions import ResourceUpdated

pytestmark = pytest.mark.anyio

LIMIT = 60.0
MOCK = "haystack.components.generators.chat.mock.MockChatGenerator"
ARTICLE = f"""
description: Writes about a topic.
inputs: {{topic: What to write about.}}
models:
  echo: {{type: {MOCK}}}
  fixed:
    type: {MOCK}
    init_parameters: {{responses: [{{role: assistant, content: [{{text: always this}}]}}]}}
steps:
  - {{name: angles, models: [echo, fixed], template: "Angles on {{topic}}"}}
  - {{name: outline, models: echo, template: "Outline of {{angles_output}}"}}
  - {{name: draft, models: echo, template: "Draft of {{outline_output}}"}}
"""
TOOLS = {
    "execute_step",
    "select_response",
    "rewind_run",
    "fork_run",
    "export_run",
    "import_run",
    "list_artifacts",
}


@pytest.fixture(scope="module")
def articles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    (made / "article.yml").write_text(ARTICLE)
    return made


@pytest.fixture(scope="module")
async def running(articles: Path) -> AsyncIterator[Served]:
    async with serve(articles) as served:
        yield served


async def called(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a call that succeeds."""
    with anyio.fail_after(LIMIT):
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    with anyio.fail_after(LIMIT):
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].model_dump()["text"]


def texts(view: dict[str, Any]) -> dict[str, str]:
    return {each["response_id"]: each["text"] for each in view["responses"]}


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_run_is_walked_through_with_tools(running: Served, mode: Mode) -> None:
    async with running.client(mode=mode) as client:
        start = await called(client, "article", topic="tea")
        run = start["run_id"]
        assert (start["status"], start["step"]) == ("waiting", "angles")
        assert texts(start) == {"resp-001": "Angles on tea", "resp-002": "always this"}
        assert "select_response" in start["next"]
        chosen = await called(client, "select_response", run_id=run, response_ids=["resp-002"])
        assert (chosen["step"], chosen["output"]) == ("outline", "always this")
        assert "execute_step" in chosen["next"]
        assert texts(await called(client, "execute_step", run_id=run)) == {
            "resp-003": "Outline of always this"
        }
        assert "regenerate" in await refused(client, "execute_step", run_id=run)
        again = await called(client, "execute_step", run_id=run, regenerate=True)
        assert list(texts(again)) == ["resp-004"]
        back = await called(client, "rewind_run", run_id=run, target_step="angles")
        assert (back["step"], back["invalidated_steps"]) == ("angles", ["outline"])
        fork = await called(client, "fork_run", run_id=run, from_response_id="resp-001")
        assert (fork["parent_run_id"], fork["step"], fork["output"]) == (run, "outline", "Angles on tea")
        assert "from_response_id" in await refused(client, "fork_run", run_id=run, step="angles")
        other = {"target_step": "angles", "inputs": {"topic": "coffee"}}
        assert "keeps the inputs" in await refused(client, "rewind_run", run_id=run, **other)
        listed = await called(client, "list_artifacts", run_id=run, limit=2)
        assert (listed["total_count"], len(listed["artifacts"])) == (4, 2)
        seen = await called(client, "get_run", run_id=fork["run_id"])
        assert (seen["status"], seen["step"], seen["inputs"]) == ("waiting", "outline", {"topic": "tea"})
        assert (seen["progress"]["percent"], "execute_step" in seen["next"]) == (33.3, True)
        assert "list_artifacts" in await refused(client, "get_run", run_id=run, step="angles")
        assert "There is no step-wise run" in await refused(client, "execute_step", run_id="0" * 32)


async def test_who_follows_a_run_hears_of_its_moves(running: Served) -> None:
    async with running.client() as client, running.client() as other:
        run = (await called(client, "article", topic="tea"))["run_id"]
        async with other.listen(resource_subscriptions=[f"run://{run}"]) as stream:
            for move in ({"response_ids": ["resp-001"]}, {}):
                await called(client, "select_response" if move else "execute_step", run_id=run, **move)
                with anyio.fail_after(LIMIT):
                    assert await anext(stream) == ResourceUpdated(f"run://{run}")


async def test_a_run_is_cancelled_by_the_tool_of_all_runs(running: Served) -> None:
    async with running.client() as client:
        run = (await called(client, "article", topic="tea"))["run_id"]
        assert (await called(client, "cancel_run", run_id=run))["status"] == "cancelled"
        assert "was cancelled" in await refused(client, "execute_step", run_id=run, regenerate=True)


async def test_an_exported_run_is_imported_by_tools(running: Served) -> None:
    async with running.client() as client:
        run = (await called(client, "article", topic="tea"))["run_id"]
        await called(client, "select_response", run_id=run, response_ids=["resp-001"])
        text = (await called(client, "export_run", run_id=run))["yaml"]
        copy = await called(client, "import_run", yaml=text)
        assert copy["run_id"] != run
        assert (copy["step"], copy["output"]) == ("outline", "Angles on tea")


async def test_the_responses_stream_as_progress(running: Served) -> None:
    heard: list[str] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with running.client() as client:
        with anyio.fail_after(LIMIT):
            await client.call_tool("article", {"topic": "tea"}, progress_callback=note)
    assert {"Angles", "tea", "always", "this"} <= set(" ".join(heard).split())


class Person:
    """Fills in one form after the other."""

    def __init__(self, *forms: dict[str, str] | None) -> None:
        self.asked: list[str] = []
        self._forms = list(forms)

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        self.asked.append(params.message)
        form = self._forms.pop(0) if self._forms else None
        return (
            types.ElicitResult(action="accept", content=form)
            if form is not None
            else types.ElicitResult(action="decline")
        )


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_that_can_be_asked_chooses_in_place(running: Served, mode: Mode) -> None:
    person = Person(
        {"response": "others", "feedback": "Colder."},
        {"response": "resp-003"},
        {"response": "resp-005", "feedback": "Short."},
        {"response": "resp-006"},
    )
    async with running.client(mode=mode, elicitation_callback=person) as client:
        done = await called(client, "article", topic="tea")
    assert done["status"] == "done"
    assert done["output"].startswith("Draft of Outline of Angles on tea") and "Short." in done["output"]
    assert len(person.asked) == 4
    assert "resp-001: Angles on tea" in person.asked[0] and "Colder." in person.asked[1]


async def test_a_choice_that_is_none_is_asked_for_again_twice_and_then_left_to_the_tools(
    running: Served,
) -> None:
    wrong = {"response": "resp-999"}
    person = Person(wrong, wrong, {"response": "resp-001"}, wrong, {}, wrong, {"response": "resp-003"})
    async with running.client(elicitation_callback=person) as client:
        left = await called(client, "article", topic="tea")
        assert (left["status"], left["step"]) == ("waiting", "outline")
        assert ["Once more" in message for message in person.asked] == [False, True, True] * 2
        await called(client, "select_response", run_id=left["run_id"], response_ids=list(texts(left)))


async def test_a_person_who_declines_goes_on_later_with_tools(running: Served) -> None:
    person = Person({"response": "merge all"}, None)
    async with running.client(elicitation_callback=person) as client:
        left = await called(client, "article", topic="tea")
        assert (left["status"], left["step"]) == ("waiting", "outline")
        assert "always this" in left["output"] and "Angles on tea" in left["output"]
        await called(client, "select_response", run_id=left["run_id"], response_ids=list(texts(left)))


async def test_the_tools_are_listed_when_there_is_a_step_wise_pipeline(tmp_path: Path) -> None:
    async with serve(tmp_path) as served, served.client() as client:
        assert not TOOLS & {tool.name for tool in (await client.list_tools()).tools}
        await called(client, "deploy_pipeline", name="article", files={"article.yml": ARTICLE})
        assert {tool.name for tool in (await client.list_tools()).tools} >= TOOLS


async def test_a_run_survives_two_deaths_of_the_server(articles: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with serve(articles, state=state) as served:
        async with served.client() as client:
            run = (await called(client, "article", topic="tea"))["run_id"]
        await killed(served)
    async with serve(articles, state=state) as served:
        async with served.client() as client:
            await called(client, "select_response", run_id=run, response_ids=["resp-002"])
        await killed(served)
    async with serve(articles, state=state) as served, served.client() as client:
        outline = await called(client, "execute_step", run_id=run)
        assert texts(outline) == {"resp-003": "Outline of always this"}
        back = await called(client, "rewind_run", run_id=run, target_step="angles")
        assert list(texts(back)) == ["resp-001", "resp-002"]


async def killed(served: Served) -> None:
    served.process.send_signal(signal.SIGKILL)
    await served.process.wait()
