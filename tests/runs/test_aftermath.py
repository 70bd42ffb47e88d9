"""What is done about runs once they have ended: in time for whoever waited, and of no request."""

from __future__ import annotations

import asyncio

import pytest

from mcp_server.models import Caller, Run
from mcp_server.telemetry import lines

from .conftest import Open, attended

pytestmark = pytest.mark.anyio

CALLER = Caller(name="somebody")


async def test_whoever_waited_for_an_end_finds_it_counted_told_and_recorded(serving: Open) -> None:
    told: list[str] = []
    async with serving() as server:
        server.runs.told = lambda run: told.append(run.id)

        async def call(number: int) -> None:
            run = await attended(server, CALLER, "double", {"number": number})
            assert run.id in told
            assert server.catalog.status("double").calls >= len(told)
            assert await server.history.find(run.id) is not None

        await call(0)
        await asyncio.gather(*map(call, range(1, 16)))
        assert len(told) == server.catalog.status("double").calls == 16


async def test_what_is_told_of_runs_that_end_together_belongs_to_no_request(serving: Open) -> None:
    found: list[str] = []
    async with serving() as server:
        server.runs.told = lambda run: found.append(lines.request_id.get())

        async def call(number: int) -> Run:
            lines.request_id.set(f"request-{number}")
            return await attended(server, CALLER, "double", {"number": number})

        await asyncio.gather(*map(call, range(8)))
    assert found == [""] * 8


async def test_a_run_that_ended_just_before_the_server_closed_is_recorded(serving: Open) -> None:
    async with serving() as server:
        live = await server.runs.start(CALLER, "double", {"number": 4})
        while server.runs.going():
            await asyncio.sleep(0)
    async with serving() as server:
        found = await server.history.find(live.run.id)
        assert found is not None
        assert found.status == "done"
