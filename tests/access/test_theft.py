"""Ids that are another caller's: each answers, on every way, byte for byte as one that never was."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import anyio
import httpx
import pytest
from clients import Served, serve, until
from surfaces.conftest import wrapper
from surfaces.test_bad_input import headers_of, modern
from surfaces.test_http import HEADERS, INITIALIZE
from surfaces.test_steps_rest import ARTICLE, INPUTS
from websockets.asyncio.client import connect

from mcp_server.access.table import ROUTES

from .conftest import bearer, create_key

pytestmark = pytest.mark.anyio
LIMIT = 110.0
TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
ASK = '''
    def run_api(self, context: Context) -> str:
        """Asks one thing."""
        return context.ask("Who?", {"type": "object", "properties": {"name": {"type": "string"}}}).action
'''
LEAVE = '''
    def run_api(self, context: Context) -> str:
        """Leaves something."""
        context.artifact("note.txt", b"mine", "text/plain")
        return "left"
'''
VOLATILE = ("x-request-id", "x-processing-time-ms", "date", "x-ratelimit-remaining", "x-ratelimit-reset")
BODIES: Mapping[str, Any] = {
    "answer": {"answers": {"answer": {"name": "x"}}},
    "select": {"response_ids": ["resp-001"]},
    "rewind": {"target_step": "angles"},
    "fork": {"from_response_id": "resp-001"},
}
ARGUMENTS: Mapping[str, Any] = {
    "get_run": {},
    "answer_run": {"answers": {"answer": {"name": "x"}}},
    "cancel_run": {},
    "rerun": {},
    "list_artifacts": {},
    "export_run": {},
    "execute_step": {},
    "select_response": {"response_ids": ["resp-001"]},
    "rewind_run": {"target_step": "angles"},
    "fork_run": {"from_response_id": "resp-001"},
}
"""The tools that take the id of a run, and what else they take."""
FOREIGN = 500
Door = Callable[[httpx.AsyncClient, str], httpx.Request]
Owned = list[tuple[Mapping[str, Door], list[str]]]


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    place = tmp_path_factory.mktemp("theft")
    for name in ("owner", "thief"):
        (place / name).write_text(create_key(place / "state", name))
    for name, body in (("ask", ASK), ("leave", LEAVE)):
        (place / "folder" / name).mkdir(parents=True)
        (place / "folder" / name / "pipeline_wrapper.py").write_text(wrapper(body))
    (place / "folder" / "article.yml").write_text(ARTICLE)
    flags = ("--rate-per-second", "0", "--rate-per-hour", "0")
    async with serve(place / "folder", *flags, state=place / "state") as running:
        yield running


def client_of(served: Served, name: str) -> httpx.AsyncClient:
    headers = bearer((served.state.parent / name).read_text()) | HEADERS
    return httpx.AsyncClient(base_url=served.url, headers=headers, trust_env=False, timeout=LIMIT)


def rpc(http: httpx.AsyncClient, method: str, params: Mapping[str, Any]) -> httpx.Request:
    body = modern(method, dict(params), **TASKS, elicitation={})
    named = {"Mcp-Name": params["taskId"]} if "taskId" in params else {}
    return http.build_request("POST", "/mcp", json=body, headers=headers_of(body) | named)


def calling(tool: str, **more: Any) -> Door:
    return lambda http, given: rpc(http, "tools/call", {"name": tool, "arguments": {"run_id": given, **more}})


def asking(method: str, name: str, **more: Any) -> Door:
    return lambda http, given: rpc(http, method, {name: given, **more})


def routed(route: str) -> Door:
    verb, _, path = route.partition(" ")
    body = BODIES.get(path.rpartition("/")[2], {}) if verb == "POST" else None

    def knock(http: httpx.AsyncClient, given: str) -> httpx.Request:
        filled = (
            path.replace("{run_id}", given).replace("{execution_id}", given).replace("{name}", "note.txt")
        )
        return http.build_request(verb, filled, json=body)

    return knock


def within(verb: str) -> Door:
    def knock(http: httpx.AsyncClient, given: str) -> httpx.Request:
        head = {"Mcp-Session-Id": given, "MCP-Protocol-Version": "2025-11-25"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"} if verb == "POST" else None
        return http.build_request(verb, "/mcp", json=body, headers=head)

    return knock


RUNS: Mapping[str, Door] = {
    **{
        route: routed(route)
        for route in ROUTES
        if ("{run_id}" in route or "{execution_id}" in route) and not route.endswith("/stream")
    },
    **{tool: calling(tool, **more) for tool, more in ARGUMENTS.items()},
    **{method: asking(method, "taskId") for method in ("tasks/get", "tasks/cancel")},
    "tasks/update": asking("tasks/update", "taskId", inputResponses={}),
    "run://": lambda http, given: rpc(http, "resources/read", {"uri": f"run://{given}"}),
    "artifacts": lambda http, given: rpc(
        http, "resources/read", {"uri": f"run://{given}/artifacts/note.txt"}
    ),
}
SESSIONS = {verb: within(verb) for verb in ("POST", "GET", "DELETE")}
STATES: Mapping[str, Door] = {
    "requestState": lambda http, given: rpc(
        http,
        "tools/call",
        {"name": "ask", "arguments": {}, "requestState": given, "inputResponses": {}},
    )
}


@pytest.fixture(scope="module")
async def owned(served: Served) -> Owned:
    """What the owner has: runs of every kind, sessions, and what it was asked; with the doors to each."""
    async with client_of(served, "owner") as http:
        await up(http)
        runs = [await started(http, name) for name in ("ask", "leave") * 5]
        steps = [await stepping(http) for _ in range(4)]
        opened = [(await http.post("/mcp", json=INITIALIZE)).headers["mcp-session-id"] for _ in range(25)]
        asked = [
            (await http.send(rpc(http, "tools/call", {"name": "ask", "arguments": {}}))).json()
            for _ in range(20)
        ]
    states = [each["result"]["requestState"] for each in asked]
    return [(RUNS, [*runs, *steps]), (SESSIONS, opened), (STATES, states)]


async def started(http: httpx.AsyncClient, name: str) -> str:
    answer = await http.post("/runs", json={"name": name, "arguments": {}})
    run: str = answer.json()["run_id"]
    return run


async def stepping(http: httpx.AsyncClient) -> str:
    answer = await http.post("/pipeline/start", json={"pipeline_path": "article", "user_inputs": INPUTS})
    run: str = answer.json()["pipeline_run_id"]
    return run


async def up(http: httpx.AsyncClient) -> None:
    async def there() -> bool:
        return len((await http.get("/status")).json()["pipelines"]) == 3

    await until(there, LIMIT)


async def told(http: httpx.AsyncClient, door: Door, given: str) -> Any:
    """All that an answer says, but for the id itself and what differs at each request."""
    answer = await http.send(door(http, given), stream=True)
    has_end = answer.request.method == "POST" or "event-stream" not in answer.headers.get("content-type", "")
    text = (await answer.aread()).decode() if has_end else "a stream"
    await answer.aclose()
    text = re.sub(r'"(request_id|timestamp)":\s*"[^"]*"', "", text.replace(given, "ID"))
    head = {name: value for name, value in answer.headers.items() if name not in VOLATILE}
    return answer.status_code, head, text


def unknown(given: str) -> str:
    """An id of the same form that nobody has."""
    return given[:-6] + "".join("0" if each != "0" else "1" for each in given[-6:])


async def test_the_id_of_another_caller_is_as_good_as_none(served: Served, owned: Owned) -> None:
    with anyio.fail_after(LIMIT):
        tried, wrong = 0, []
        async with client_of(served, "thief") as thief:
            for doors, ids in owned:
                for name, door in doors.items():
                    for given in ids:
                        tried += 1
                        foreign, absent = (
                            await told(thief, door, given),
                            await told(thief, door, unknown(given)),
                        )
                        if foreign != absent:
                            wrong.append(f"{name}: {foreign} {absent}")
    print(tried, "foreign ids")
    assert wrong == []
    assert tried >= FOREIGN


async def test_the_owner_of_an_id_is_answered_otherwise(served: Served, owned: Owned) -> None:
    """So that the test above can fail: each of its doors opens for whoever has the key."""
    with anyio.fail_after(LIMIT):
        shut: list[str] = []
        async with client_of(served, "owner") as owner:
            for doors, ids in owned:
                for name, door in doors.items():
                    absent = await told(owner, door, unknown(ids[0]))
                    if all([(await told(owner, door, given)) == absent for given in ids]):
                        shut.append(name)
    assert shut == []


async def test_a_stream_of_another_caller_is_as_good_as_none(served: Served) -> None:
    heard: list[list[str]] = []
    with anyio.fail_after(LIMIT):
        async with client_of(served, "owner") as http:
            await up(http)
            run = await stepping(http)
        thief = bearer((served.state.parent / "thief").read_text())
        for given in (run, unknown(run)):
            url = f"ws{served.url[4:]}/step/{given}/stream"
            async with connect(url, proxy=None, additional_headers=thief) as socket:
                heard.append([str(message).replace(given, "ID") async for message in socket])
    assert heard[0] == heard[1] != []
