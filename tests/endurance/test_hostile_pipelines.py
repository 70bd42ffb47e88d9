"""Whatever a pipeline does is contained: its caller reads an error, and calls of others go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import cast

import anyio
import httpx
import pytest
from clients import START_LIMIT, Served, Transport, loaded, serve

from mcp_server.engines.confinement import abilities
from mcp_server.models import Walls

from .hostile import HOSTILE, TIMEOUT, write

pytestmark = pytest.mark.anyio

SLACK = 40.0
"""Seconds more that a busy machine may need."""
STUCK = """import time
from mcp_server import PipelineWrapper as Base
class PipelineWrapper(Base):
    timeout = 4
    def run_api(self) -> str:
        time.sleep(600)
"""


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A server with every hostile pipeline, loaded."""
    if missing := abilities().lacking(Walls(sandbox=True)):
        pytest.skip(f"NOT TESTED: memory and processes are not limited without {missing[0]}")
    write(tmp_path / "pipelines", "sandbox")
    async with serve(tmp_path / "pipelines", "--memory-limit", str(1 << 30)) as server:
        await loaded(server.url)
        yield server


@pytest.mark.parametrize(
    "transport",
    ["http", pytest.param("sse", marks=pytest.mark.long), pytest.param("stdio", marks=pytest.mark.long)],
)
async def test_hostile_pipelines_hurt_nobody_else(served: Served, transport: Transport) -> None:
    over = asyncio.Event()
    answers: dict[str, bool] = {}
    async with served.client(transport, read_timeout_seconds=TIMEOUT + SLACK + START_LIMIT) as client:
        await client.call_tool("echo", {"number": 0})

        async def hurt(name: str) -> None:
            answers[name] = (await client.call_tool(name, {})).is_error is True

        async def work() -> int:
            for number in count(1):
                result = await client.call_tool("echo", {"number": number})
                assert result.structured_content == {"result": number}, result
                if over.is_set():
                    return number
            raise AssertionError

        with anyio.fail_after(START_LIMIT + SLACK):
            working = asyncio.create_task(work())
            await asyncio.gather(*map(hurt, HOSTILE))
            over.set()
            assert await working > 1
    assert answers == dict.fromkeys(HOSTILE, True)


async def test_calls_that_are_stuck_end_in_time_and_others_are_answered(tmp_path: Path, long: bool) -> None:
    calls = 100 if long else 40
    for name, code in (("stuck", STUCK), ("echo", STUCK.replace("time.sleep(600)", "return 'here'"))):
        (tmp_path / "pipelines" / name).mkdir(parents=True)
        (tmp_path / "pipelines" / name / "pipeline_wrapper.py").write_text(
            code.replace("    timeout", f'    group = "{name}"\n    timeout')
        )
    more = ("--sync-calls", str(calls), "--threads", str(calls))
    async with serve(tmp_path / "pipelines", *more) as server, http(server) as client:
        await loaded(server.url)
        ended: list[float] = []

        async def stuck() -> None:
            answer = await client.post("/stuck/run", json={})
            ended.append(float(answer.headers["x-processing-time-ms"]) / 1000)
            assert answer.status_code == 500 and "timeout of 4 s" in answer.text

        everyone = asyncio.gather(*(stuck() for _ in range(calls)))
        answered = 0
        while not everyone.done():
            answer = await client.post("/echo/run", json={})
            assert answer.json() == {"result": "here"}
            answered += 1
        await cast("asyncio.Future[list[None]]", everyone)
    assert len(ended) == calls and answered > 1
    assert max(ended) < 4 + 15
    print(f"{calls} stuck calls ended after at most {max(ended):.2f} s; {answered} others were answered")


def http(server: Served) -> httpx.AsyncClient:
    """A client for plain HTTP."""
    limits = httpx.Limits(max_connections=None)
    return httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=60, limits=limits)
