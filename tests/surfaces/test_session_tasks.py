"""Tasks of 2025-11-25: asked for in the params of a call, followed and answered within the session."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import anyio
import httpx
import orjson
import pytest
from clients import Served, serve, until
from mcp import Client

from .test_http import HEADERS, INITIALIZE
from .test_node_clients import node, run
from .test_tasks import folder

__all__ = ["folder", "node"]
pytestmark = pytest.mark.anyio
RELATED = "io.modelcontextprotocol/related-task"
Body = dict[str, Any]


@pytest.fixture(scope="module")
async def served(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder) as running:
        yield running


class Session:
    """A session of 2025-11-25 over HTTP, message by message."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http, self._number = http, 0

    async def open(self, **capabilities: Any) -> Body:
        opening = cast(Body, orjson.loads(orjson.dumps(INITIALIZE)))
        opening["params"] |= {"protocolVersion": "2025-11-25", "capabilities": capabilities}
        answer = await self._http.post("/mcp", json=opening)
        self._http.headers["Mcp-Session-Id"] = answer.headers["mcp-session-id"]
        self._http.headers["MCP-Protocol-Version"] = "2025-11-25"
        await self.tell({"method": "notifications/initialized"})
        return messages(answer.text)[-1]["result"]["capabilities"]

    async def tell(self, message: Body) -> None:
        await self._http.post("/mcp", json={"jsonrpc": "2.0", **message})

    async def ask(self, method: str, **params: Any) -> Body:
        """The response, be it a result or an error; a form that is asked for is filled in with Ada."""
        self._number += 1
        body = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        async with self._http.stream("POST", "/mcp", json=body) as answer:
            if answer.headers["content-type"].startswith("application/json"):
                return orjson.loads(await answer.aread())
            async for line in answer.aiter_lines():
                message = orjson.loads(line[6:]) if line.startswith("data: {") else {}
                if message.get("method") == "elicitation/create":
                    self.asked = message["params"]
                    given = {"action": "accept", "content": {"name": "Ada"}}
                    await self.tell({"id": message["id"], "result": given})
                elif message.get("id") == self._number:
                    return message
        raise AssertionError("no answer")

    async def begin(self, name: str, arguments: Body) -> Body:
        response = await self.ask("tools/call", name=name, arguments=arguments, task={"ttl": 60_000})
        assert set(response["result"]) == {"task"}, response
        return response["result"]["task"]

    async def reached(self, task: str, *statuses: str) -> Body:
        seen: Body = {}

        async def there() -> bool:
            seen.update((await self.ask("tasks/get", taskId=task))["result"])
            return seen["status"] in statuses

        await until(there, 30)
        return seen


def error_of(response: Body) -> tuple[int, str]:
    return response["error"]["code"], response["error"]["message"]


def messages(text: str) -> list[Body]:
    if text.startswith("{"):
        return [orjson.loads(text)]
    return [orjson.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]


@pytest.fixture
async def session(served: Served) -> AsyncIterator[Session]:
    with anyio.fail_after(90):
        async with httpx.AsyncClient(
            base_url=served.url, trust_env=False, timeout=60, headers=HEADERS
        ) as http:
            opened = Session(http)
            capabilities = await opened.open(elicitation={})
            assert capabilities["tasks"] == {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
            yield opened


async def test_a_call_that_asks_becomes_a_task_and_gives_its_result(session: Session) -> None:
    task = await session.begin("quick", {"number": 4})
    assert (task["status"], task["ttl"], task["pollInterval"]) == ("working", 86_400_000, 1000)
    result = (await session.ask("tasks/result", taskId=task["taskId"]))["result"]
    assert result["structuredContent"] == {"result": 8} and "resultType" not in result
    assert result["_meta"][RELATED] == {"taskId": task["taskId"]}
    ended = await session.reached(task["taskId"], "completed")
    assert {"taskId", "createdAt", "lastUpdatedAt", "ttl"} <= set(ended)
    listed = (await session.ask("tasks/list"))["result"]["tasks"]
    assert task["taskId"] in [each["taskId"] for each in listed]


async def test_a_task_goes_on_until_it_is_cancelled_once(session: Session, tmp_path: Path) -> None:
    files = {"started": str(tmp_path / "started"), "until": str(tmp_path / "until")}
    task = (await session.begin("wait", files))["taskId"]
    assert (await session.ask("tasks/get", taskId=task))["result"]["status"] == "working"
    cancelled = (await session.ask("tasks/cancel", taskId=task))["result"]
    assert (cancelled["taskId"], cancelled["status"]) == (task, "cancelled")
    assert error_of(await session.ask("tasks/cancel", taskId=task))[0] == -32602
    assert "cancelled" in error_of(await session.ask("tasks/result", taskId=task))[1]


async def test_a_task_asks_through_the_request_for_its_result(session: Session) -> None:
    task = (await session.begin("ask", {}))["taskId"]
    assert (await session.reached(task, "input_required"))["status"] == "input_required"
    result = (await session.ask("tasks/result", taskId=task))["result"]
    assert result["structuredContent"] == {"result": "accept"}
    assert session.asked["_meta"][RELATED] == {"taskId": task}


async def test_a_failure_is_a_failed_task_whose_result_says_why(session: Session) -> None:
    task = (await session.begin("fails", {}))["taskId"]
    assert "too small" in (await session.reached(task, "failed"))["statusMessage"]
    result = (await session.ask("tasks/result", taskId=task))["result"]
    assert result["isError"] is True and "too small" in result["content"][0]["text"]
    broken = (await session.begin("breaks", {}))["taskId"]
    assert (await session.ask("tasks/result", taskId=broken))["error"]["code"] == 4711


async def test_what_cannot_be_a_task_is_an_error(session: Session) -> None:
    unknown = await session.ask("tools/call", name="nothing", arguments={}, task={})
    assert error_of(unknown)[0] == -32602
    bad = await session.ask("tools/call", name="quick", arguments={}, task={})
    assert error_of(bad)[0] == -32602 and "number" in error_of(bad)[1]
    managing = await session.ask("tools/call", name="get_run", arguments={"run_id": "1"}, task={})
    assert error_of(managing)[0] == -32601
    assert error_of(await session.ask("tools/call", name="late", arguments={}))[0] == -32601
    assert (await session.begin("late", {}))["status"] == "working"
    named = {"name": "quick", "arguments": {"number": 1}}
    assert (await session.begin("run_pipeline", named))["status"] == "working"
    for verb in ("get", "result", "cancel"):
        assert error_of(await session.ask(f"tasks/{verb}", taskId="1"))[0] == -32602


async def test_tools_say_that_they_may_be_tasks_and_other_versions_know_none(served: Served) -> None:
    async with served.client(mode="legacy") as client:
        support = {
            tool.name: tool.execution and tool.execution.task_support
            for tool in (await client.list_tools()).tools
        }
    assert (support["quick"], support["late"], support["get_run"]) == ("optional", "required", None)
    async with Client(f"{served.url}/mcp") as client:
        assert (await client.call_tool("quick", {"number": 2})).structured_content == {"result": 4}


async def test_the_typescript_sdk_v1_follows_tasks(node: str, served: Served, tmp_path: Path) -> None:
    met = json.loads(await run(node, "tasks_v1.mjs", served.url, str(tmp_path / "started")))
    assert met["quick"] == {"kinds": ["taskCreated", "taskStatus", "result"], "result": {"result": 14}}
    assert met["asked"] == {"asked": "Who?", "result": {"result": "accept"}}
    assert met["failed"] == "error"
    assert met["cancelled"] == "cancelled" and met["listed"] is True
