"""Two servers on one state: what runs in one is stopped and answered through the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from clients import Served, serve

from .conftest import wrapper
from .test_tasks import ASKING, WRAPPERS, Body, begun, bounded, call, connected, modern, post, reached, tasks

__all__ = ["bounded"]
pytestmark = pytest.mark.anyio
FILLED = {"action": "accept", "content": {"name": "Ada"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("elsewhere")
    for name in ("wait", "twice", "ask"):
        (made / name).mkdir()
        head = "from mcp_server import Form\n"
        (made / name / "pipeline_wrapper.py").write_text(head + wrapper(WRAPPERS[name]))
    return made


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def flags(request: pytest.FixtureRequest) -> tuple[str, ...]:
    stored = ("--store", request.getfixturevalue("cluster").database())
    return ("--soft-deadline", "1", *(stored if request.param == "postgresql" else ()))


@pytest.fixture(scope="module")
async def one(
    folder: Path, flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    async with serve(folder, *flags, state=tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="module")
async def other(
    one: Served, flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """On SQLite on the same state; on PostgreSQL as on another machine, with a state folder of its own."""
    state = tmp_path_factory.mktemp("other") if "--store" in flags else one.state
    async with serve(one.folder, *flags, state=state) as running:
        yield running


@pytest.fixture
async def here(one: Served) -> AsyncIterator[httpx.AsyncClient]:
    """Where the runs are."""
    async with connected(one) as client:
        yield client


@pytest.fixture
async def there(other: Served) -> AsyncIterator[httpx.AsyncClient]:
    """The other server."""
    async with connected(other) as client:
        yield client


async def given(http: httpx.AsyncClient, tool: str, **arguments: object) -> Body:
    """What a management tool answers."""
    answer = await call(http, tool, arguments)
    assert not answer["isError"], answer
    return answer["structuredContent"]


async def asks(http: httpx.AsyncClient, run: str) -> Body:
    """What a run asks, once it does."""
    seen: Body = {}
    while "question" not in seen:
        seen = await given(http, "get_run", run_id=run)
    assert seen["status"] == "waiting"
    return seen["question"]


async def test_a_run_that_waits_in_one_server_is_answered_through_another(
    here: httpx.AsyncClient, there: httpx.AsyncClient
) -> None:
    run = (await given(here, "start_run", name="ask"))["run_id"]
    assert (await asks(there, run))["answer"]["params"]["message"] == "Who?"
    waiting = await given(there, "list_runs", status="waiting")
    assert run in [each["run_id"] for each in waiting["runs"]]
    wrong = await call(there, "answer_run", {"run_id": run, "answers": {"other": {}}})
    assert wrong["isError"]
    ended = await given(there, "answer_run", run_id=run, answers={"answer": {"name": "Ada"}})
    assert (ended["status"], ended["result"]) == ("done", {"result": "accept"})
    assert "question" not in await given(here, "get_run", run_id=run)
    again = await call(there, "answer_run", {"run_id": run, "answers": {"answer": {}}})
    assert again["isError"] and "not waiting" in again["content"][0]["text"]


async def test_a_call_that_asks_in_one_server_goes_on_through_another(
    here: httpx.AsyncClient, there: httpx.AsyncClient
) -> None:
    """What one of them sealed (`requestState`) the other one opens."""
    asks = {"elicitation": {}}
    for name, result in (("ask", "accept"), ("twice", ["Ada"] * 4)):
        done = await call(here, name, {}, asks)
        while done["resultType"] == "input_required":
            answers = dict.fromkeys(done["inputRequests"], FILLED)
            more = {"requestState": done["requestState"], "inputResponses": answers}
            done = await call(there, name, {}, asks, **more)
        assert done["structuredContent"] == {"result": result}
        forged = more | {"requestState": more["requestState"][:-9] + "A" * 9}
        refused = await post(there, modern("tools/call", {"name": name, "arguments": {}, **forged}, **asks))
        assert refused.status_code == 400


async def test_an_answer_through_another_server_brings_the_next_question(
    here: httpx.AsyncClient, there: httpx.AsyncClient
) -> None:
    run = (await given(here, "start_run", name="twice"))["run_id"]
    answers = {key: {"name": "Ada"} for key in await asks(there, run)}
    assert (await given(there, "answer_run", run_id=run, answers=answers))["status"] == "waiting"
    ended = await given(there, "answer_run", run_id=run, answers=answers)
    assert ended["result"] == {"result": ["Ada"] * 4}


async def test_a_run_of_one_server_is_cancelled_through_another(
    here: httpx.AsyncClient, there: httpx.AsyncClient, tmp_path: Path
) -> None:
    files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "never")}
    run = (await given(here, "start_run", name="wait", arguments=files))["run_id"]
    assert (await given(there, "cancel_run", run_id=run))["status"] == "cancelled"
    assert (await given(here, "get_run", run_id=run))["status"] == "cancelled"


async def test_a_task_of_one_server_is_answered_in_parts_through_another(
    here: httpx.AsyncClient, there: httpx.AsyncClient
) -> None:
    task = (await call(here, "twice", {}, ASKING))["taskId"]
    for _ in range(2):
        asked = await reached(there, task, "input_required", capabilities=ASKING)
        first, second = sorted(asked["inputRequests"])
        await tasks(there, "update", task, ASKING, inputResponses={first: FILLED})
        for client in (here, there):
            part = await tasks(client, "get", task, ASKING)
            assert part["inputRequests"].keys() == {second}
        await tasks(there, "update", task, ASKING, inputResponses={second: FILLED})
    ended = await reached(there, task, "completed", capabilities=ASKING)
    assert ended["result"]["structuredContent"] == {"result": ["Ada"] * 4}


async def test_a_task_of_one_server_is_cancelled_through_another(
    here: httpx.AsyncClient, there: httpx.AsyncClient, tmp_path: Path
) -> None:
    task = await begun(here, tmp_path)
    await tasks(there, "cancel", task)
    assert (await reached(here, task, "cancelled"))["status"] == "cancelled"
