"""A run while its end is being written down."""

from __future__ import annotations

import anyio
import pytest

from mcp_server.models import Emit, Result, Run
from mcp_server.runs.live import Live

pytestmark = pytest.mark.anyio


async def test_nobody_sees_the_end_of_a_run_before_it_is_written_down() -> None:
    written, writing = anyio.Event(), anyio.Event()

    async def work(run: Run, emit: Emit) -> Result:
        return Result(content=b"[]")

    async def seal(live: Live, ended: Run) -> Run:
        writing.set()
        await written.wait()
        return ended

    run = Run(id="1", pipeline="p", version=1, digest="d", inputs={}, timeout=1.0)
    with anyio.fail_after(10):
        live = Live(run, work, seal, 1.0, lambda identity: None)
        await writing.wait()
        assert (live.run.status, live.run.result) == ("running", None)
        live.cancel()
        written.set()
        await live.end()
        assert live.run.status == "done"


async def test_a_run_that_is_stopped_before_it_began_never_works_and_is_recorded_as_cancelled() -> None:
    sealed: list[str] = []

    async def work(run: Run, emit: Emit) -> Result:
        raise AssertionError("it was stopped")

    async def seal(live: Live, ended: Run) -> Run:
        sealed.append(ended.status)
        return ended

    run = Run(id="1", pipeline="p", version=1, digest="d", inputs={}, timeout=1.0)
    with anyio.fail_after(10):
        live = Live(run, work, seal, 1.0, lambda identity: None)
        live.cancel()
        assert await live.next() is None
        await live.end()
    assert sealed == [live.run.status] == ["cancelled"]
