"""Events on their way to a client: order, rate, and a client that does not read."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import anyio
import mcp_types as types
import pytest

from mcp_server.models import Chunk, Event, Progress
from mcp_server.surfaces.mcp import reports
from mcp_server.surfaces.mcp.reports import TEXT, reported

pytestmark = pytest.mark.anyio

Sent = tuple[float, float | None, str | None]


class Session:
    """The far end of a request: takes reports, as slowly as its client reads."""

    def __init__(self, reads: anyio.Event | None = None) -> None:
        self.sent: list[Sent] = []
        self.sources: list[str | None] = []
        self._reads = reads

    async def send_notification(self, notification: types.ProgressNotification, request: object) -> None:
        if self._reads:
            await self._reads.wait()
        params = notification.params
        self.sent.append((params.progress, params.total, params.message))
        self.sources.append((params.meta or {}).get(TEXT, {}).get("source"))


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
        async with reported(Asked(session), "demo") as emit:  # type: ignore[arg-type]
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
        async with reported(Asked(session), "demo") as emit:  # type: ignore[arg-type]
            for number in range(1000):
                await emit(Chunk(text=f"{number} "))
                await emit(Progress(done=number))
            reads.set()
    assert "".join(message or "" for *_, message in session.sent) == "".join(f"{n} " for n in range(1000))


async def test_progress_that_was_overtaken_is_left_out_for_a_slow_client() -> None:
    reads = anyio.Event()
    session = Session(reads)
    with anyio.fail_after(10):
        async with reported(Asked(session), "demo") as emit:  # type: ignore[arg-type]
            for number in range(10_000):
                await emit(Progress(done=number))
            reads.set()
    assert len(session.sent) < 100
    assert session.sent[-1][0] == 9999


async def test_what_the_run_raises_comes_out_as_it_is() -> None:
    with pytest.raises(SystemExit):
        async with reported(Asked(Session()), "demo"):  # type: ignore[arg-type]
            raise SystemExit(3)


async def test_leaving_waits_for_no_beat() -> None:
    with anyio.fail_after(0.09):
        await sent(Chunk(text="only"))


async def test_text_of_each_source_is_joined_and_tagged() -> None:
    reads = anyio.Event()
    session = Session(reads)
    with anyio.fail_after(10):
        async with reported(Asked(session), "demo") as emit:  # type: ignore[arg-type]
            await emit(Chunk(text="held up"))
            await anyio.lowlevel.checkpoint()
            for number in range(1000):
                await emit(Chunk(text=f"{number} ", source="a"))
                await emit(Chunk(text=f"{number} ", source="b"))
            reads.set()
    whole = "".join(f"{number} " for number in range(1000))
    assert [message for *_, message in session.sent] == ["held up", whole, whole]
    assert session.sources == [None, "a", "b"]


async def test_silence_is_broken_again_and_again_with_a_rising_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "SILENCE", 0.01)
    session = Session()
    with anyio.fail_after(10):
        async with reported(Asked(session), "demo") as emit:  # type: ignore[arg-type]
            while len(session.sent) < 3:
                await anyio.sleep(0.01)
            await emit(Progress(done=1, total=2, message="sorting"))
            while len(session.sent) < 6:
                await anyio.sleep(0.01)
    values = [value for value, *_ in session.sent]
    assert all(after > before for before, after in pairwise(values))
    messages = [(message or "").partition(",")[0] for *_, message in session.sent]
    assert messages[0] == "demo is running"
    assert messages[-1] == "sorting"
