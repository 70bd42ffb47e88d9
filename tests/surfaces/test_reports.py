"""Progress as a client sees it: values that rise, totals that hold, text that is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import Mode, Served, until

from .conftest import wrapper
from .test_streaming import Ear, ignore, is_so

pytestmark = pytest.mark.anyio

Heard = list[tuple[float, float | None, str | None]]

WRAPPERS = {
    "measures": '''
        def run_api(self, context: Context, done: list[str], total: str | None = None) -> str:
            """Reports these numbers, also those that JSON does not know."""
            for number in done:
                context.progress(float(number), total and float(total))
            return "done"
    ''',
    "speaks": '''
        def run_api(self, context: Context) -> str:
            """Speaks, and says in between how far it is."""
            context.chunk("a")
            context.progress(5, 10)
            context.chunk("b")
            context.progress(6, 10)
            return "ab"
    ''',
    "one": '''
        def run_api(self, context: Context) -> str:
            """Says one word."""
            context.chunk("only")
            return "only"
    ''',
    "hurries": '''
        def run_api(self, context: Context) -> str:
            """Says more often how far it is than anybody can read."""
            for number in range(20_000):
                context.progress(number, 20_000)
            return "done"
    ''',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("reports")
    for name, body in WRAPPERS.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(wrapper(body))
    return made


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


async def heard_of(served: Served, mode: Mode, name: str, last: float, **arguments: Any) -> Heard:
    """The progress of one call, up to the value `last`; values rise each time."""
    ear = Ear()
    async with served.client("http", mode, message_handler=ear) as client:
        result = await client.call_tool(name, arguments, progress_callback=ignore)
        assert not result.is_error
        await until(is_so(lambda: any(params.progress >= last for params in ear.heard)))
    heard = sorted((params.progress, params.total, params.message) for params in ear.heard)
    assert all(after > before for (before, *_), (after, *_) in pairwise(heard))
    return heard


async def test_a_value_that_does_not_rise_is_raised_by_a_hair(served: Served, mode: Mode) -> None:
    heard = await heard_of(served, mode, "measures", 9, done=["0", "3", "3", "1", "9"], total="9")
    assert [value for value, *_ in heard] == pytest.approx([0, 3, 3, 3, 9])


async def test_text_is_counted_until_the_pipeline_says_how_far_it_is(served: Served, mode: Mode) -> None:
    first, *_, last = await heard_of(served, mode, "speaks", 6)
    assert first[:2] == (1, None)
    assert (round(last[0], 6), last[1]) == (6, 10)


async def test_a_total_that_was_passed_is_left_out(served: Served, mode: Mode) -> None:
    assert await heard_of(served, mode, "measures", 3, done=["3"], total="2") == [(3, None, None)]


@pytest.mark.parametrize("odd", ["nan", "inf", "-inf"])
async def test_what_is_no_number_in_json_is_not_sent(served: Served, mode: Mode, odd: str) -> None:
    heard = await heard_of(served, mode, "measures", 1, done=[odd, "1"], total="inf")
    assert [(value, total) for value, total, _ in heard] == [(0, None), (1, None)]


async def test_progress_that_was_overtaken_is_left_out_and_the_last_is_not(
    served: Served, mode: Mode
) -> None:
    heard = await heard_of(served, mode, "hurries", 19_999)
    assert heard[-1][:2] == (19_999, 20_000)


async def test_a_result_waits_for_no_beat(served: Served, mode: Mode) -> None:
    ear = Ear()
    async with served.client("http", mode, message_handler=ear) as client:
        with anyio.fail_after(20):
            for _ in range(20):
                await client.call_tool("one", {}, progress_callback=ignore)
        await until(is_so(lambda: len(ear.heard) == 20))
