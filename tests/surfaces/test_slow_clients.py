"""Clients that do not read, or do not answer: the run ends, memory stays bounded, others are served."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import Mode, Served, serve, until
from mcp import Client

from .conftest import WRAPPERS, wrapper
from .raw import Connection
from .test_http import HEADERS, INITIALIZE
from .test_listen_streams import SHELF

pytestmark = pytest.mark.anyio

FLOOD = '''
    async def run_api_async(self, context: Context, count: int) -> str:
        """Says far more than a client that does not read can take."""
        for number in range(count):
            context.chunk(f"{number:07} " + "x" * 2**18)
            context.log("warning", "y" * 1000)
            context.progress(number, count)
            await asyncio.sleep(0)
        return "said it all"
'''
PATIENT = '''
    def run_api(self, context: Context) -> str:
        """Asks, and waits."""
        return context.ask("Sure?", {"type": "object", "properties": {}}).action
'''
COUNT = 400
NUMBER = re.compile(rb"(\d{7}) x")
EVERYTHING = {"elicitation": {}, "sampling": {}, "roots": {"listChanged": True}}
MORE = 50 * 2**20
"""Bytes that the server may take for one that does not read: what may wait, as text and as JSON."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in {"flood": FLOOD, "patient": PATIENT, "shelf": SHELF, "echo": WRAPPERS["echo"]}.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(wrapper(body))
    return made


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    """It waits longer for those who do not read than the tests leave them unread."""
    async with serve(folder, "--send-timeout", "600") as running:
        yield running


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(120):
        yield


async def session(served: Served, **capabilities: Any) -> dict[str, str]:
    """The headers of a session that was opened."""
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, headers=HEADERS) as http:
        answer = await http.post("/mcp", json=opening(capabilities))
        headers = {"Mcp-Session-Id": answer.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
        await http.post("/mcp", json=message("notifications/initialized", {}, None), headers=headers)
        await http.post("/mcp", json=message("logging/setLevel", {"level": "debug"}), headers=headers)
    return headers


def opening(capabilities: dict[str, Any]) -> dict[str, Any]:
    """The request that opens a session."""
    return {**INITIALIZE, "params": {**INITIALIZE["params"], "capabilities": capabilities}}


def message(method: str, params: dict[str, Any], identity: int | None = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": identity} if identity else {})


async def begin(served: Served, deaf: Connection, mode: Mode, name: str, arguments: dict[str, Any]) -> None:
    """Call a tool, asking to hear everything; nothing is read of it."""
    params = {"name": name, "arguments": arguments}
    if mode == "auto":
        meta = {"progressToken": 1, "io.modelcontextprotocol/logLevel": "debug"}
        await deaf.modern("tools/call", params, meta)
    else:
        params["_meta"] = {"progressToken": 1}
        await deaf.post("/mcp", message("tools/call", params, 2), await session(served))


async def runs_of(client: Client, name: str, status: str) -> list[str]:
    """The ids of the runs of a pipeline that have this status."""
    listed = await client.call_tool("list_runs", {"pipeline": name, "status": status})
    assert listed.structured_content is not None
    return [run["run_id"] for run in listed.structured_content["runs"]]


async def is_served(client: Client) -> bool:
    answer = await client.call_tool("echo", {"text": "hi"})
    return answer.structured_content == {"result": "hi"}


async def test_a_run_ends_though_its_client_does_not_read_and_then_all_of_it_can_be_read(
    served: Served, mode: Mode
) -> None:
    async with served.client() as client, Connection(served.url) as deaf:
        before = served.memory()
        known = await runs_of(client, "flood", "done")
        await begin(served, deaf, mode, "flood", {"count": COUNT})

        async def ended() -> bool:
            assert await is_served(client)
            return len(await runs_of(client, "flood", "done")) > len(known)

        await until(ended, limit=90)
        assert served.memory() - before < MORE
        received = await deaf.read_until(b"said it all")
        assert received.count(b"is left out") == 1
        numbers = [int(number) for number in NUMBER.findall(received)]
        assert numbers == [*range(len(numbers))] and numbers


async def test_a_client_that_never_answers_what_it_is_asked_holds_up_no_other(served: Served) -> None:
    async with served.client() as client, Connection(served.url) as deaf:
        params = {"name": "patient", "arguments": {}}
        await deaf.post("/mcp", message("tools/call", params, 2), await session(served, elicitation={}))
        await deaf.read_until(b"elicitation/create")
        assert await is_served(client)
        (run,) = await runs_of(client, "patient", "running")
        await client.call_tool("cancel_run", {"run_id": run})
        assert await runs_of(client, "patient", "cancelled") == [run]


async def test_clients_that_open_a_session_and_do_not_read_hold_up_no_other(served: Served) -> None:
    async with AsyncExitStack() as held:
        for path in ("/mcp", "/sse") * 10:
            deaf = await held.enter_async_context(Connection(served.url))
            await (deaf.get(path, {}) if path == "/sse" else deaf.post(path, opening(EVERYTHING), {}))
        for mode in ("legacy", "auto"):
            async with served.client("http", mode) as client, served.client("sse", mode) as other:
                assert await is_served(client) and await is_served(other)


async def test_a_session_that_does_not_read_holds_up_no_pipeline_that_tells_of_changes(
    served: Served,
) -> None:
    uri = "shelf://" + "x" * 4000
    headers = await session(served)
    async with (
        served.client() as client,
        Connection(served.url) as deaf,
        httpx.AsyncClient(base_url=served.url, trust_env=False, headers=HEADERS | headers) as http,
    ):
        subscribed = await http.post("/mcp", json=message("resources/subscribe", {"uri": uri}, 2))
        assert '"result":{' in subscribed.text
        await deaf.get("/mcp", headers)
        await deaf.read_until(b"\r\n\r\n")
        for _ in range(3):  # far more than it can be sent
            answer = await client.call_tool("shelf", {"count": 1000, "uri": uri})
            assert answer.structured_content == {"result": "said"}


async def test_nothing_is_asked_of_a_client_while_it_opens_its_session(served: Served) -> None:
    async with Connection(served.url) as stream, Connection(served.url) as poster:
        await stream.get("/sse", {})
        await stream.read_until(b"session_id=")
        await stream.read_until(b"\r\n\r\n")
        path = re.findall(rb"/messages/\?session_id=\w+", stream.received)[0].decode()
        for sent in (
            opening(EVERYTHING),
            message("notifications/initialized", {}, None),
            message("tools/list", {}, 2),
        ):
            await poster.post(path, sent, {})
        received = await stream.read_until(b'"tools":[')
    assert b'"method"' not in received
