"""What keeps a server alive: containment, stopping, quiet pipes; and what it says about itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from clients import Transport, command, serve
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError

from mcp_server.surfaces.mcp.pages import PAGE, cursor_to, page_start
from mcp_server.surfaces.mcp.protocol import INSTRUCTIONS, contain

pytestmark = pytest.mark.anyio


class Calling:
    """A request, as far as containment looks at it."""

    method = "tools/call"


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), RuntimeError("secret"), BaseException()]
)
async def test_whatever_a_handler_raises_becomes_an_answer_without_detail(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(request: object) -> HandlerResult:
        raise error

    with pytest.raises(MCPError) as answered:
        await contain(Calling(), fail)  # type: ignore[arg-type]
    assert answered.value.error.code == types.INTERNAL_ERROR
    assert "secret" not in answered.value.error.message
    (record,) = caplog.records
    assert answered.value.error.message.split()[-1].rstrip(".") in record.getMessage()


async def test_a_cancellation_that_nobody_asked_for_is_contained() -> None:
    async def fail(request: object) -> HandlerResult:
        raise asyncio.CancelledError

    with pytest.raises(MCPError):
        await contain(Calling(), fail)  # type: ignore[arg-type]


async def test_a_real_cancellation_passes() -> None:
    with anyio.move_on_after(0.01) as scope:
        await contain(Calling(), lambda _: anyio.sleep_forever())  # type: ignore[arg-type]
    assert scope.cancelled_caught


@pytest.mark.parametrize("start", [PAGE, 2 * PAGE])
def test_a_cursor_leads_to_its_page(start: int) -> None:
    assert page_start("tools", None, 2 * PAGE + 1) == 0
    assert page_start("tools", cursor_to("tools", start), 2 * PAGE + 1) == start


@pytest.mark.parametrize(
    "cursor", ["", "0", str(PAGE), cursor_to("tools", 3 * PAGE), cursor_to("prompts", PAGE), "nowhere"]
)
def test_any_other_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(MCPError) as refused:
        page_start("tools", cursor, 2 * PAGE + 1)
    assert refused.value.error.code == types.INVALID_PARAMS


def test_the_instructions_fit_in_what_clients_show() -> None:
    assert len(INSTRUCTIONS.encode()) < 2048


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_server_told_to_stop_ends_open_streams_and_exits_with_zero(
    folder: Path, transport: Transport
) -> None:
    async with (
        serve(folder) as served,
        served.client(transport) as client,
        client.listen(tools_list_changed=True) as stream,
    ):
        with anyio.fail_after(10):
            served.process.terminate()
            async for _ in stream:
                pass
            assert await served.process.wait() == 0


async def test_nothing_but_protocol_reaches_stdout(folder: Path, tmp_path: Path) -> None:
    talk = [
        {"method": "initialize", "id": 1, "params": CLIENT},
        {"method": "notifications/initialized"},
        {"method": "tools/call", "id": 2, "params": {"name": "noisy", "arguments": {}}},
    ]
    words = command(folder, tmp_path, "--stdio")
    with anyio.fail_after(60):
        async with await anyio.open_process(words, stderr=None) as process:
            assert process.stdin is not None and process.stdout is not None
            for message in talk:
                await process.stdin.send(json.dumps({"jsonrpc": "2.0"} | message).encode() + b"\n")
            printed = b""
            while printed.count(b'"id":2') == 0:
                printed += await process.stdout.receive()
            await process.stdin.aclose()
            assert await process.wait() == 0
    lines = [json.loads(line) for line in printed.splitlines()]
    answers = [line for line in lines if "id" in line]
    assert [each["id"] for each in answers] == [1, 2], lines
    assert answers[1].get("result", {}).get("structuredContent") == {"result": "quiet"}, lines


CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
