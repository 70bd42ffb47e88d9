"""Runs that outlast their request: tasks for clients that know them, the id of the run for all others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import anyio
import httpx
import mcp_types as types
import orjson
import pytest
from clients import Mode, Served, Transport, serve, stop, until
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from pydantic import Field

from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.mcp import ProtocolServer

from .conftest import wrapper
from .test_bad_input import error_of, headers_of, message, modern
from .test_http import HEADERS, INITIALIZE

pytestmark = pytest.mark.anyio

EXTENSION = "io.modelcontextprotocol/tasks"
TASKS = {"extensions": {EXTENSION: {}}}
ASKING = TASKS | {"elicitation": {}}
WRAPPERS = {
    "quick": '''
        def run_api(self, number: int) -> int:
            """Is done at once."""
            return 2 * number
    ''',
    "wait": '''
        async def run_api_async(self, started: str, until: str, context: Context) -> dict[str, bool]:
            """Waits for a file."""
            open(started, "w").close()
            context.progress(1, 2, "waiting for the file")
            while not os.path.exists(until):
                await asyncio.sleep(0.01)
            return {"waited": True}
    ''',
    "noted": '''
        record = "meta"
        task = "always"

        def run_api(self) -> str:
            """What it gives is not recorded."""
            return "gone with the server"
    ''',
    "fails": '''
        task = "always"

        def run_api(self) -> int:
            """Fails."""
            raise ValueError("too small")
    ''',
    "breaks": '''
        task = "always"

        def run_api(self) -> int:
            """Ends with an error of the protocol."""
            raise ProtocolError(4711, "no seats", {"seats": 0})
    ''',
    "late": '''
        task = "required"

        def run_api(self) -> str:
            """Is a task or nothing."""
            return "done"
    ''',
    "twice": '''
        task = "always"

        def run_api(self, context: Context) -> list[str]:
            """Asks two things at once, and again."""
            form = Form("Which?", {"type": "object", "properties": {"name": {"type": "string"}}})
            rounds = [context.ask_all(one=form, two=form) for _ in range(2)]
            return [given[key].content["name"] for given in rounds for key in ("one", "two")]
    ''',
    "ask": '''
        def run_api(self, context: Context) -> str:
            """Asks one thing."""
            return context.ask("Who?", {"type": "object", "properties": {"name": {"type": "string"}}}).action
    ''',
}
DEADLINE = 1.5
Body = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tasks")
    for name, body in WRAPPERS.items():
        (made / name).mkdir()
        head = "from mcp_server import Form, ProtocolError\n"
        (made / name / "pipeline_wrapper.py").write_text(head + wrapper(body))
    return made


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder, "--soft-deadline", str(DEADLINE)) as running:
        yield running


@pytest.fixture
async def http(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(served) as client:
        yield client


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


def connected(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=20, headers=HEADERS)


async def post(http: httpx.AsyncClient, body: Body, **headers: str) -> httpx.Response:
    """Send a request of the modern era with the headers that belong to it, or with these in their place."""
    task = body["params"].get("taskId")
    named = {"Mcp-Name": task} if task else {}
    return await http.post("/mcp", json=body, headers=headers_of(body) | named | headers)


def result_of(answer: httpx.Response) -> Body:
    """The result of an answer, be it JSON or the last event of a stream."""
    text = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        text = [line for line in text.splitlines() if line.startswith("data: {")][-1].removeprefix("data: ")
    return cast(Body, orjson.loads(text)["result"])


async def call(
    http: httpx.AsyncClient, name: str, arguments: Body, capabilities: Body = TASKS, **more: Any
) -> Body:
    params = {"name": name, "arguments": arguments, **more}
    return result_of(await post(http, modern("tools/call", params, **capabilities)))


async def tasks(
    http: httpx.AsyncClient, verb: str, task: str, capabilities: Body = TASKS, **more: Any
) -> Body:
    body = modern(f"tasks/{verb}", {"taskId": task, **more}, **capabilities)
    return result_of(await post(http, body))


async def reached(http: httpx.AsyncClient, task: str, *statuses: str, capabilities: Body = TASKS) -> Body:
    """The task once it has one of these statuses."""
    seen: Body = {}

    async def there() -> bool:
        seen.update(await tasks(http, "get", task, capabilities))
        return seen["status"] in statuses

    await until(there, 20)
    return await tasks(http, "get", task, capabilities)


async def begun(http: httpx.AsyncClient, place: Path) -> str:
    """The id of a task that goes on until the file `until` is there."""
    created = await call(http, "wait", {"started": str(place / "started"), "until": str(place / "until")})
    assert created["resultType"] == "task"
    return created["taskId"]


async def test_the_extension_is_told_to_clients_of_the_modern_era_only(http: httpx.AsyncClient) -> None:
    told = result_of(await post(http, modern("server/discover")))
    assert told["capabilities"]["extensions"] == {EXTENSION: {}} and "tasks" not in told["capabilities"]
    old = result_of(await http.post("/mcp", json=INITIALIZE))
    assert EXTENSION not in (old["capabilities"].get("extensions") or {})


async def test_what_is_done_quickly_is_answered_at_once(http: httpx.AsyncClient) -> None:
    answer = await call(http, "quick", {"number": 21}, task={"ttl": 1000})
    assert answer["resultType"] == "complete" and answer["structuredContent"] == {"result": 42}


async def test_what_takes_long_becomes_a_task_that_gives_the_result(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    inputs = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    created = await call(http, "wait", inputs)
    assert created.keys() >= {"taskId", "createdAt", "lastUpdatedAt"}
    assert (created["resultType"], created["status"]) == ("task", "working")
    assert (created["ttlMs"], created["pollIntervalMs"]) == (86_400_000, 1000)
    going = await tasks(http, "get", created["taskId"])
    assert (going["resultType"], going["status"]) == ("complete", "working")
    assert going["statusMessage"] == "waiting for the file"
    Path(inputs["until"]).touch()
    ended = await reached(http, created["taskId"], "completed", "failed")
    assert ended["result"]["structuredContent"] == {"waited": True} and not ended["result"]["isError"]
    await tasks(http, "cancel", created["taskId"])
    assert await tasks(http, "get", created["taskId"]) == ended


async def test_a_task_outlives_the_connection_it_was_made_on(served: Served, tmp_path: Path) -> None:
    async with connected(served) as first:
        task = await begun(first, tmp_path)
    (tmp_path / "until").touch()
    async with connected(served) as second:
        assert (await reached(second, task, "completed", "cancelled"))["status"] == "completed"


async def test_a_pipeline_that_was_just_deployed_can_be_a_task_too(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    files = {"pipeline_wrapper.py": wrapper(WRAPPERS["wait"])}
    deployed = await call(http, "deploy_pipeline", {"name": "fresh", "files": files})
    assert not deployed["isError"], deployed
    inputs = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    created = await call(http, "run_pipeline", {"name": "fresh", "arguments": inputs})
    (tmp_path / "until").touch()
    assert (await reached(http, created["taskId"], "completed"))["result"]["isError"] is False


async def test_a_task_asks_and_takes_answers_in_parts(http: httpx.AsyncClient) -> None:
    created = await call(http, "twice", {}, ASKING)
    task, keys = created["taskId"], set[str]()
    for names in (("a", "b"), ("c", "d")):
        asked = await reached(http, task, "input_required", capabilities=ASKING)
        first, second = asked["inputRequests"]
        assert not keys & {first, second}, "a key is never used again"
        keys |= {first, second}
        assert asked["inputRequests"][first]["method"] == "elicitation/create"
        given = {"action": "accept", "content": {"name": names[0]}}
        await tasks(http, "update", task, ASKING, inputResponses={"unknown": {"x": 1}, first: given})
        part = await tasks(http, "get", task, ASKING)
        assert [*part["inputRequests"]] == [second]
        last = {"action": "accept", "content": {"name": names[1]}}
        acknowledged = await tasks(http, "update", task, ASKING, inputResponses={first: last, second: last})
        assert acknowledged["resultType"] == "complete" and "taskId" not in acknowledged
    ended = await reached(http, task, "completed", "failed")
    assert ended["result"]["structuredContent"] == {"result": ["a", "b", "c", "d"]}


async def test_an_answer_of_another_kind_is_refused_and_the_task_waits_on(http: httpx.AsyncClient) -> None:
    task = (await call(http, "twice", {}, ASKING))["taskId"]
    asked = await reached(http, task, "input_required", capabilities=ASKING)
    wrong = {next(iter(asked["inputRequests"])): {"action": "perhaps"}}
    refused = await post(http, modern("tasks/update", {"taskId": task, "inputResponses": wrong}, **ASKING))
    assert error_of(refused)["code"] == types.INVALID_PARAMS
    assert (await tasks(http, "get", task, ASKING))["inputRequests"] == asked["inputRequests"]
    await tasks(http, "cancel", task)


async def test_a_client_that_cannot_be_asked_is_told_of_the_tool_that_answers(
    http: httpx.AsyncClient,
) -> None:
    task = (await call(http, "twice", {}))["taskId"]

    async def waits() -> bool:
        return "answer_run" in (await tasks(http, "get", task)).get("statusMessage", "")

    await until(waits)
    answers = {"one": {"name": "x"}, "two": {"name": "y"}}
    for _ in range(2):
        told = await call(http, "answer_run", {"run_id": task, "answers": answers})
    assert told["structuredContent"]["status"] == "done"


async def test_questions_before_a_call_is_a_task_are_asked_by_the_call(http: httpx.AsyncClient) -> None:
    asked = await call(http, "ask", {}, ASKING)
    assert asked["resultType"] == "input_required" and "taskId" not in asked
    answers = {key: {"action": "decline"} for key in asked["inputRequests"]}
    again = {"inputResponses": answers, "requestState": asked["requestState"]}
    ended = await call(http, "ask", {}, ASKING, **again)
    assert ended["structuredContent"] == {"result": "decline"}


async def test_a_tool_that_fails_has_completed_and_an_error_of_the_protocol_has_failed(
    http: httpx.AsyncClient,
) -> None:
    failed = await reached(http, (await call(http, "fails", {}))["taskId"], "completed", "failed")
    assert failed["status"] == "completed" and failed["result"]["isError"]
    assert "too small" in failed["result"]["content"][0]["text"]
    broken = await reached(http, (await call(http, "breaks", {}))["taskId"], "completed", "failed")
    assert broken["status"] == "failed" and "result" not in broken
    assert broken["error"] == {"code": 4711, "message": "no seats", "data": {"seats": 0}}


async def test_a_cancelled_task_stays_cancelled(http: httpx.AsyncClient, tmp_path: Path) -> None:
    task = await begun(http, tmp_path)
    assert (await tasks(http, "cancel", task)).keys() <= {"resultType", "_meta"}
    ended = await reached(http, task, "cancelled", "completed", "failed")
    assert ended["status"] == "cancelled" and not {"result", "error"} & ended.keys()
    await tasks(http, "cancel", task)
    assert await tasks(http, "get", task) == ended


@pytest.mark.parametrize("verb", ["get", "update", "cancel"])
async def test_what_a_client_may_not_ask_of_tasks_is_refused(http: httpx.AsyncClient, verb: str) -> None:
    params = {"taskId": "nobody"}

    async def code(body: Body, **headers: str) -> int:
        answer = await post(http, body, **headers)
        assert answer.status_code == 400
        return error_of(answer)["code"]

    known = modern(f"tasks/{verb}", params, **TASKS)
    assert await code(known) == types.INVALID_PARAMS
    assert await code(modern(f"tasks/{verb}", {}, **TASKS)) == types.INVALID_PARAMS
    assert await code(known, **{"Mcp-Name": "another"}) == types.HEADER_MISMATCH
    undeclared = await post(http, modern(f"tasks/{verb}", params))
    assert error_of(undeclared)["code"] == types.MISSING_REQUIRED_CLIENT_CAPABILITY
    nameless = await http.post("/mcp", json=known, headers=headers_of(known))
    assert error_of(nameless)["code"] == types.HEADER_MISMATCH
    older = "2025-06-18"
    opened = await http.post(
        "/mcp", json=INITIALIZE | {"params": INITIALIZE["params"] | {"protocolVersion": older}}
    )
    session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": older}
    old = await http.post("/mcp", json=message(f"tasks/{verb}", params, 2), headers=session)
    assert error_of(old)["code"] == types.METHOD_NOT_FOUND


@pytest.mark.parametrize("verb", ["list", "result"])
async def test_the_methods_of_older_tasks_are_gone(http: httpx.AsyncClient, verb: str) -> None:
    answer = await post(http, modern(f"tasks/{verb}", {"taskId": "nobody"}, **TASKS))
    assert error_of(answer)["code"] == types.METHOD_NOT_FOUND


async def test_a_pipeline_that_is_a_task_or_nothing_needs_a_client_that_knows_tasks(
    http: httpx.AsyncClient,
) -> None:
    refused = error_of(await post(http, modern("tools/call", {"name": "late", "arguments": {}})))
    assert refused["code"] == types.MISSING_REQUIRED_CLIENT_CAPABILITY
    assert refused["data"] == {"requiredCapabilities": TASKS} and "start_run" in refused["message"]
    created = await call(http, "late", {})
    assert (await reached(http, created["taskId"], "completed"))["result"]["isError"] is False
    started = await call(http, "start_run", {"name": "late"}, {})
    assert not started["isError"]


async def test_tasks_survive_the_server(folder: Path, tmp_path: Path) -> None:
    async with serve(folder, state=tmp_path / "state") as first, connected(first) as http:
        failed = (await call(http, "fails", {}))["taskId"]
        broken = (await call(http, "breaks", {}))["taskId"]
        noted = (await call(http, "noted", {}))["taskId"]
        ended = [await reached(http, task, "completed", "failed") for task in (failed, broken)]
        await reached(http, noted, "completed")
        going = await begun(http, tmp_path)
        first.process.kill()
        await stop(first.process)
    async with serve(folder, state=tmp_path / "state") as second, connected(second) as http:
        for task, before in zip((failed, broken), ended, strict=True):
            after = await tasks(http, "get", task)
            assert (after["status"], after.get("error")) == (before["status"], before.get("error"))
            assert after.get("result") == before.get("result")
        lost = await reached(http, going, "failed", "completed")
        assert lost["status"] == "failed" and lost["error"]["code"] == types.INTERNAL_ERROR
        silent = await tasks(http, "get", noted)
        assert silent["status"] == "completed" and "not recorded" in silent["result"]["content"][0]["text"]


async def test_another_server_on_the_same_store_answers_for_a_task(folder: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with (
        serve(folder, state=state) as one,
        serve(folder, state=state) as other,
        connected(one) as here,
        connected(other) as there,
    ):
        task = await begun(here, tmp_path)
        assert (await tasks(there, "get", task))["status"] == "working"
        await tasks(there, "update", task, inputResponses={"unknown": {"x": 1}})
        (tmp_path / "until").touch()
        ended = await reached(there, task, "completed", "failed")
        assert ended["result"]["structuredContent"] == {"waited": True}
        assert await tasks(here, "get", task) == ended


class Created(types.Result):
    """What the SDK's client makes of a call that became a task."""

    result_type: Literal["task"] = Field(alias="resultType")
    task_id: str


class Detailed(types.Result):
    task_id: str
    status: str
    result: types.CallToolResult | None = None


class TaskIdParams(types.RequestParams):
    task_id: str


class GetTask(types.Request[TaskIdParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"
    params: TaskIdParams
    name_param: ClassVar[str | None] = "taskId"


class Polling(ClientExtension):
    """Follows a task to its end, as a client would that knows tasks."""

    identifier = EXTENSION

    def __init__(self, release: Path) -> None:
        self.release = release
        self.followed: list[str] = []

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return (ResultClaim(result_type="task", model=Created, resolve=self.follow),)

    async def follow(self, created: Created, context: ClaimContext) -> types.CallToolResult:
        self.followed.append(created.task_id)
        self.release.touch()
        while True:
            params = TaskIdParams(task_id=created.task_id)
            seen = await context.session.send_request(GetTask(params=params), Detailed)
            if seen.result is not None:
                return seen.result
            await anyio.sleep(0.05)  # as a client polls


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_a_client_with_the_extension_follows_a_task_over_every_transport(
    served: Served, transport: Transport, tmp_path: Path
) -> None:
    inputs = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    polling = Polling(tmp_path / "until")
    async with served.client(transport, extensions=[polling]) as client:
        result = await client.call_tool("wait", inputs)
    assert result.structured_content == {"waited": True} and len(polling.followed) == 1


async def test_without_a_store_that_works_nothing_is_promised_and_the_call_is_waited_for(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(
        folder=folder,
        state=tmp_path / "state",
        engine="local",
        soft_deadline=0.1,
        store=f"sqlite:///{tmp_path}/file/state.db",
    )
    inputs = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    async with Server(settings) as server:
        await server.catalog.ready()
        async with Client(ProtocolServer(server)) as client, anyio.create_task_group() as group:

            async def later() -> None:
                await until(anyio.Path(inputs["started"]).exists)
                await anyio.sleep(0.5)  # long past the deadline
                (tmp_path / "until").touch()

            group.start_soon(later)
            result = await client.call_tool("wait", inputs)
    assert result.structured_content == {"waited": True}


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_after_the_deadline_a_client_without_tasks_gets_the_id_of_its_run(
    served: Served, transport: Transport, mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCP_SERVER_SOFT_DEADLINE", str(DEADLINE))  # a stdio server has its own settings
    async with served.client(transport, mode) as client:
        inputs = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
        result = await client.call_tool("wait", inputs)
        assert isinstance(result.content[0], types.TextContent)
        assert result.is_error and "get_run" in result.content[0].text, "its schema promises another answer"
        run = (result.meta or {})["haystack-mcp-server/run"]["id"]
        assert run in result.content[0].text
        (tmp_path / "until").touch()

        async def done() -> bool:
            followed = (await client.call_tool("get_run", {"run_id": run})).structured_content or {}
            return followed["status"] == "done" and followed["result"] == {"waited": True}

        await until(done)


@pytest.mark.parametrize("meta", [{"haystack-mcp-server/timeout": 30}, {"haystack-mcp-server/wait": True}])
async def test_a_client_that_says_how_long_a_call_may_take_waits_that_long(
    served: Served, tmp_path: Path, meta: Any
) -> None:
    inputs = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    async with served.client() as client, anyio.create_task_group() as group:

        async def later() -> None:
            await anyio.sleep(DEADLINE + 0.5)  # the time that is waited is what is tested
            (tmp_path / "until").touch()

        group.start_soon(later)
        result = await client.call_tool("wait", inputs, meta=meta)
    assert result.structured_content == {"waited": True}


async def test_a_person_who_is_being_asked_is_not_cut_off(served: Served) -> None:
    async def slow(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
        await anyio.sleep(DEADLINE + 0.5)  # the time that is waited is what is tested
        return types.ElicitResult(action="accept", content={"name": "Ada"})

    async with served.client(mode="legacy", elicitation_callback=slow) as client:
        result = await client.call_tool("ask", {})
    assert result.structured_content == {"result": "accept"}


async def test_a_call_that_became_nothing_yet_is_stopped_with_its_client(
    served: Served, tmp_path: Path
) -> None:
    inputs = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    async with connected(served) as http, anyio.create_task_group() as group:
        group.start_soon(call, http, "wait", inputs, {})

        async def started() -> bool:
            return (tmp_path / "started").exists()

        await until(started)
        group.cancel_scope.cancel()

    async def cancelled() -> bool:
        async with connected(served) as http:
            listed = await call(http, "list_runs", {"pipeline": "wait", "limit": 1}, {})
        return listed["structuredContent"]["runs"][0]["status"] == "cancelled"

    await until(cancelled)
