"""Events on their way to a client: order, rate, and a client that does not read."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import anyio
import pytest

from mcp_server.models import Chunk, Event, Progress
from mcp_server.surfaces.mcp.reports import reported

pytestmark = pytest.mark.anyio

Sent = tuple[float, float | None, str | None]


class Session:
    """The far end of a request: takes reports, as slowly as its client reads."""

    def __init__(self, reads: anyio.Event | None = None) -> None:
        self.sent: list[Sent] = []
        self._reads = reads

    async def report_progress(self, value: float, total: float | None, message: str | None) -> None:
        if self._reads:
            await self._reads.wait()
        self.sent.append((value, total, message))


class Asked:
    """A modern request that carries a progress token."""

    protocol_version = "2026-07-28"
    request_id = 1

    def __init__(self, session: Session) -> None:
        self.session: Any = session
        self.meta = {"progress_token": 1}


async def sent(*events: Event) -> list[Sent]:
    session = Session()
    with anyio.fail_after(10):
        async with reported(Asked(session)) as emit:  # type: ignore[arg-type]
            for event in events:
                await emit(event)
                await anyio.lowlevel.checkpoint()
    return session.sent


async def test_a_value_that_does_not_rise_is_raised_by_a_hair() -> None:
    reports = await sent(*(Progress(done=done, total=9) for done in (0, 3, 3, 1, 9)))
    values = [value for value, _, _ in reports]
    assert all(after > before for before, after in pairwise(values))
    assert values == pytest.approx([0, 3, 3, 3, 9])


async def test_text_is_counted_until_the_pipeline_says_how_far_it_is() -> None:
    reports = await sent(
        Chunk(text="a"), Progress(done=5, total=10), Chunk(text="b"), Progress(done=6, total=10)
    )
    assert [(round(value, 6), total) for value, total, _ in reports] == [(1, None), (5, 10), (5, 10), (6, 10)]
    assert [message for *_, message in reports] == ["a", None, "b", None]


async def test_a_total_that_was_passed_is_left_out() -> None:
    assert (await sent(Progress(done=3, total=2)))[0] == (3, None, None)


@pytest.mark.parametrize("done", [math.nan, math.inf, -math.inf])
async def test_what_is_no_number_in_json_is_not_sent(done: float) -> None:
    reports = await sent(Progress(done=done, total=math.inf), Progress(done=1))
    assert all(math.isfinite(value) and total is None for value, total, _ in reports)


async def test_a_client_that_does_not_read_holds_up_nothing_and_gets_all_text() -> None:
    reads = anyio.Event()
    session = Session(reads)
    with anyio.fail_after(10):
        async with reported(Asked(session)) as emit:  # type: ignore[arg-type]
            for number in range(1000):
                await emit(Chunk(text=f"{number} "))
                await emit(Progress(done=number))
            reads.set()
    assert "".join(message or "" for *_, message in session.sent) == "".join(f"{n} " for n in range(1000))


async def test_progress_that_was_overtaken_is_left_out_for_a_slow_client() -> None:
    reads = anyio.Event()
    session = Session(reads)
    with anyio.fail_after(10):
        async with reported(Asked(session)) as emit:  # type: ignore[arg-type]
            for number in range(10_000):
                await emit(Progress(done=number))
            reads.set()
    assert len(session.sent) < 100
    assert session.sent[-1][0] == 9999


async def test_what_the_run_raises_comes_out_as_it_is() -> None:
    with pytest.raises(SystemExit):
        async with reported(Asked(Session())):  # type: ignore[arg-type]
            raise SystemExit(3)


async def test_leaving_waits_for_no_beat() -> None:
    with anyio.fail_after(0.09):
        await sent(Chunk(text="only"))
