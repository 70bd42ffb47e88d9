"""SIGTERM: what was begun is answered, what comes then is told to go elsewhere, and the end is in time."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from clients import Served, loaded, serve, until
from mcp import Client

from .sockets import PATIENCE, call, connect, host, modern_post, wire
from .test_sessions import session

pytestmark = pytest.mark.anyio

TIMES = (1, 20)
IN_FLIGHT = 40
SESSIONS = (50, 1000)
DRAIN = 3.0


async def running(served: Served, count: int) -> None:
    """Wait until so many runs are going on."""

    async def all_there() -> bool:
        async with wire(served.url) as raw:
            await raw.send(f"GET /runs?status=running&limit=100 HTTP/1.1\r\n{host(served.url)}\r\n".encode())
            return len(json.loads((await raw.answer())[1])["runs"]) >= count

    await until(all_there, 60)


async def by_client(client: Client, number: int) -> Any:
    answer = await client.call_tool("nap", {"text": str(number), "seconds": 8})
    return answer.structured_content


async def test_calls_in_flight_are_answered_on_every_transport(folder: Path, long: bool) -> None:
    answered = 0
    for _ in range(TIMES[long]):
        async with serve(folder) as served, AsyncExitStack() as stack:
            await loaded(served.url)
            kinds = (("http", "auto"), ("http", "legacy"), ("sse", "auto"), ("sse", "legacy"))
            clients = [await stack.enter_async_context(served.client(*kind)) for kind in kinds]
            for each in clients:
                await (
                    each.list_tools()
                )  # or they would ask for the schema of what they got, when nobody is there
            idle = [await stack.enter_async_context(wire(served.url)) for _ in range(2)]
            for each in idle:
                await each.send(call(served.url, "echo", {"text": "a"}))
                assert (await each.answer())[0] == 200
            going = [asyncio.ensure_future(by_client(clients[n % 4], n)) for n in range(IN_FLIGHT)]
            await running(served, IN_FLIGHT)
            served.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.3)
            await idle[0].send(call(served.url, "echo", {"text": "late"}))
            head = await idle[0].reader.readuntil(b"\r\n\r\n")
            assert b" 503 " in head and b"retry-after:" in head.lower()
            await idle[1].send(f"GET /pipelines HTTP/1.1\r\n{host(served.url)}\r\n".encode())
            assert (await idle[1].answer())[0] == 503
            answers = await asyncio.wait_for(asyncio.gather(*going), PATIENCE)
            assert answers == [{"result": str(n)} for n in range(IN_FLIGHT)]
            answered += len(answers)
            assert await asyncio.wait_for(served.process.wait(), PATIENCE) == 0
    print("answered", answered, "of", TIMES[long] * IN_FLIGHT)


async def test_it_ends_in_time_whatever_clients_and_pipelines_do(folder: Path, long: bool) -> None:
    async with serve(folder, "--drain-timeout", str(DRAIN)) as served, AsyncExitStack() as stack:
        await loaded(served.url)
        held = [await session(served.url) for _ in range(SESSIONS[long])]
        for each in held:
            stack.push_async_callback(each.raw.close)
        for _ in range(5):
            stuck = await stack.enter_async_context(wire(served.url))
            await stuck.send(call(served.url, "stuck", {"seconds": 600}))
            deaf = await connect(served.url, limit=1024)
            stack.push_async_callback(deaf.close)
            deaf.writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
            await deaf.send(f"GET /openapi.json HTTP/1.1\r\n{host(served.url)}\r\n".encode() * 200)
            listener = await stack.enter_async_context(wire(served.url))
            await listener.send(modern_post(served.url, "subscriptions/listen", {"notifications": {}}))
            old = await stack.enter_async_context(wire(served.url))
            await old.send(
                f"GET /sse HTTP/1.1\r\n{host(served.url)}Accept: text/event-stream\r\n\r\n".encode()
            )
        await running(served, 5)
        since = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(served.process.wait(), PATIENCE)
        taken = time.monotonic() - since
    print("ended after", taken, "with", status)
    assert status == 0
    assert taken + 0.2 >= DRAIN and taken < DRAIN + (2 if long else 10)  # the promise is of a quiet machine


async def test_a_call_in_flight_may_ask_its_client_while_the_server_stops(folder: Path) -> None:
    asked = anyio.Event()

    async def answer(context: Any, params: Any) -> Any:
        asked.set()
        await asyncio.sleep(0.5)
        return types.ElicitResult(action="accept", content={})

    async with serve(folder) as served:
        await loaded(served.url)
        async with served.client("http", "legacy", elicitation_callback=answer) as client:
            going = asyncio.ensure_future(client.call_tool("ask", {}))
            await asked.wait()
            served.process.send_signal(signal.SIGTERM)
            result = await asyncio.wait_for(going, PATIENCE)
        assert result.structured_content == {"result": "accept"}
        assert await asyncio.wait_for(served.process.wait(), PATIENCE) == 0
