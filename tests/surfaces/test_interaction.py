"""One conversation, held with the SDK's own client: in both protocol eras, over every transport."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served, Transport, until
from mcp import Client
from mcp.shared.exceptions import MCPError

from .conftest import wrapper

pytestmark = pytest.mark.anyio

MANAGEMENT = [
    *("deploy_pipeline", "undeploy_pipeline", "get_pipeline_status", "get_all_pipeline_statuses"),
    *("get_run", "answer_run", "cancel_run"),
]
ANSWER = wrapper('def run_api(self) -> str:\n    """Answers."""\n    return "deployed"\n')


@pytest.fixture(scope="module", params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture(scope="module", params=["http", "sse", "stdio"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param


@pytest.fixture(scope="module")
async def client(served: Served, transport: Transport, mode: Mode) -> AsyncIterator[Client]:
    async with served.client(transport, mode) as connected:
        yield connected


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


def text(result: types.CallToolResult) -> str:
    assert isinstance(result.content[0], types.TextContent)
    return result.content[0].text


class Heard:
    """What a call reported: (value, total, message) in the order of arrival."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float | None, str | None]] = []

    async def __call__(self, value: float, total: float | None, message: str | None) -> None:
        self.reports.append((value, total, message))

    async def messages(self, count: int) -> list[str]:
        """The first messages, once so many have arrived: the client delivers them beside the answer."""

        async def enough() -> bool:
            return len(self.reports) >= count

        await until(enough)
        return [message or "" for _, _, message in self.reports]


async def test_the_era_is_the_one_the_client_asked_for(client: Client, mode: Mode) -> None:
    assert client.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
    assert client.server_info.name == "haystack-mcp-server"
    assert client.server_capabilities.tools is not None
    assert client.server_capabilities.tools.list_changed is True


async def test_pipelines_are_listed_by_name_and_the_management_tools_last(client: Client) -> None:
    tools = (await client.list_tools()).tools
    names = [tool.name for tool in tools]
    assert names[-7:] == MANAGEMENT
    assert names[:-7] == sorted(names[:-7])
    assert {"echo", "steps", "words"} <= set(names)
    assert not {"hidden", "broken"} & set(names)
    echo = tools[names.index("echo")]
    assert echo.description == "Gives the text back."
    assert echo.input_schema["required"] == ["text"]
    assert echo.meta is not None and echo.meta["haystack-mcp-server/version"]["number"] == "1"


async def test_a_call_gives_structured_content_and_the_same_as_text(client: Client) -> None:
    result = await client.call_tool("echo", {"text": "grün ", "times": 2})
    assert not result.is_error
    assert result.structured_content == {"result": "grün grün "}
    assert text(result) == "grün grün "
    assert result.meta is not None
    assert set(result.meta["haystack-mcp-server/run"]) == {"id", "version", "digest"}


@pytest.mark.parametrize("name", ["nowhere", "hidden", "../echo"])
async def test_an_unknown_tool_is_a_protocol_error(client: Client, name: str) -> None:
    with pytest.raises(MCPError, match=f"Unknown tool: {name}") as refused:
        await client.call_tool(name, {})
    assert refused.value.error.code == types.INVALID_PARAMS


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({}, "text"), ({"text": "x", "loud": True}, "loud"), ({"text": "x", "times": "often"}, "times")],
)
async def test_bad_arguments_are_a_result_that_names_the_field(
    client: Client, arguments: dict[str, object], named: str
) -> None:
    result = await client.call_tool("echo", arguments)
    assert result.is_error
    assert named in text(result)
    assert len(text(result)) < 500


async def test_a_pipeline_that_ends_the_process_ends_only_its_call(client: Client) -> None:
    assert (await client.call_tool("leave", {})).is_error
    assert text(await client.call_tool("echo", {"text": "alive"})) == "alive"


async def test_progress_arrives_in_order_and_rises(client: Client) -> None:
    heard = Heard()
    await client.call_tool("steps", {"count": 5}, progress_callback=heard)
    assert await heard.messages(5) == [f"step {step}" for step in range(5)]
    assert [(value, total) for value, total, _ in heard.reports] == [(step, 5) for step in range(5)]


async def test_streamed_text_arrives_whole_and_at_most_ten_times_a_second(client: Client) -> None:
    heard = Heard()
    began = time.monotonic()
    result = await client.call_tool("words", {"count": 50}, progress_callback=heard)
    allowed = (time.monotonic() - began) * 10 + 2
    assert text(result) == "".join(f"word{word} " for word in range(50))

    async def all_heard() -> bool:
        return "".join(message or "" for _, _, message in heard.reports) == text(result)

    await until(all_heard)
    assert 2 <= len(heard.reports) <= allowed
    assert all(after > before for (before, *_), (after, *_) in pairwise(heard.reports))


async def test_a_cancelled_call_stops_the_pipeline(client: Client, tmp_path: Path) -> None:
    started, stopped = anyio.Path(tmp_path / "started"), anyio.Path(tmp_path / "stopped")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "wait", {"started": str(started), "stopped": str(stopped)})
        await until(started.exists)
        tasks.cancel_scope.cancel()
    await until(stopped.exists)
    assert text(await client.call_tool("echo", {"text": "alive"})) == "alive"


class Listener:
    """A client that hears of changes in its era's way."""

    def __init__(self, client: Client, change: Callable[[], Awaitable[object]]) -> None:
        self.client = client
        self._change = change

    async def lists(self, name: str) -> bool:
        return name in {tool.name for tool in (await self.client.list_tools()).tools}

    async def hears_until(self, name: str, *, listed: bool) -> None:
        """Wait for announcements, looking only after each, until the tool is listed or not."""
        await self._change()
        while await self.lists(name) is not listed:
            await self._change()


@asynccontextmanager
async def listening(served: Served, transport: Transport, mode: Mode) -> AsyncIterator[Listener]:
    send, receive = anyio.create_memory_object_stream[object](100)

    async def hear(message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            send.send_nowait(message)

    async with send, receive, served.client(transport, mode, message_handler=hear) as client:
        if mode == "legacy":
            yield Listener(client, receive.receive)
            return
        async with client.listen(tools_list_changed=True) as stream:
            yield Listener(client, stream.__anext__)


async def test_a_deploy_by_another_client_is_announced_and_callable(
    served: Served, transport: Transport, mode: Mode
) -> None:
    name = f"new_{transport}_{mode}"
    async with listening(served, transport, mode) as listener, served.client() as other:
        assert not await listener.lists(name)
        await other.call_tool("deploy_pipeline", {"name": name, "files": {"pipeline_wrapper.py": ANSWER}})
        await listener.hears_until(name, listed=True)
        assert text(await listener.client.call_tool(name, {})) == "deployed"


async def test_an_undeploy_is_announced_and_the_tool_is_gone(
    served: Served, transport: Transport, mode: Mode
) -> None:
    name = f"old_{transport}_{mode}"
    async with served.client() as other:
        await other.call_tool("deploy_pipeline", {"name": name, "files": {"pipeline_wrapper.py": ANSWER}})
        async with listening(served, transport, mode) as listener:
            assert await listener.lists(name)
            await other.call_tool("undeploy_pipeline", {"pipeline_name": name})
            await listener.hears_until(name, listed=False)
            with pytest.raises(MCPError, match="Unknown tool"):
                await listener.client.call_tool(name, {})


async def test_log_lines_reach_only_a_client_that_asked(
    served: Served, transport: Transport, mode: Mode
) -> None:
    lines: list[types.LoggingMessageNotificationParams] = []

    async def hear(line: types.LoggingMessageNotificationParams) -> None:
        lines.append(line)

    async def heard() -> bool:
        return bool(lines)

    async with served.client(transport, mode, logging_callback=hear) as client:
        await client.call_tool("talk", {})
        assert lines == []
        if mode == "legacy":
            asked = types.SetLevelRequest(params=types.SetLevelRequestParams(level="warning"))
            await client.session.send_request(asked, types.EmptyResult)
            await client.call_tool("talk", {})
        else:
            await client.call_tool("talk", {}, meta={types.LOG_LEVEL_META_KEY: "warning"})
        await until(heard)
    assert [(line.level, line.data, line.logger) for line in lines] == [
        ("warning", {"about": "a problem"}, "talk")
    ]


async def test_an_unknown_cursor_is_refused(client: Client) -> None:
    with pytest.raises(MCPError) as refused:
        await client.list_tools(cursor="nowhere")
    assert refused.value.error.code == types.INVALID_PARAMS


async def test_a_caller_may_give_a_call_less_time(client: Client, tmp_path: Path) -> None:
    files = {"started": str(tmp_path / "started"), "stopped": str(tmp_path / "stopped")}
    before = time.monotonic()
    late = await client.call_tool("wait", files, meta={"haystack-mcp-server/timeout": 0.5})
    assert late.is_error and "timeout of 0.5 s" in text(late)
    assert time.monotonic() - before < 3
    odd = await client.call_tool("wait", files, meta={"haystack-mcp-server/timeout": "soon"})
    assert odd.is_error and "number of seconds" in text(odd)
