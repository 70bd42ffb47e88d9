"""What a run says while it goes reaches a real client: whole, in order, tagged, and never silent for long."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served, Transport, until

from mcp_server.models.meta import TEXT

from .conftest import wrapper

pytestmark = pytest.mark.anyio

WRAPPERS = {
    "duet": '''
        async def run_api_async(self, context: Context, seconds: float) -> dict[str, str]:
            """Two models speak at once, fifty times a second each."""
            said = {"soprano": "", "alto": ""}
            for number in range(int(seconds * 50)):
                for singer in said:
                    context.chunk(f"{singer[0]}{number} ", source=singer)
                    said[singer] += f"{singer[0]}{number} "
                await asyncio.sleep(0.02)
            return said
    ''',
    "pause": '''
        async def run_api_async(self, context: Context) -> str:
            """Says one word, then waits until it is stopped."""
            context.chunk("first")
            await asyncio.Event().wait()
            return "never"
    ''',
    "silent": '''
        def run_api(self, context: Context, seconds: float) -> str:
            """Works on something and says nothing about it."""
            context.progress(3, 10, "reading the archive")
            time.sleep(seconds)
            return "done"
    ''',
    "mute": '''
        async def run_api_async(self, seconds: float) -> str:
            """Says nothing at all."""
            await asyncio.sleep(seconds)
            return "done"
    ''',
}
LONGEST_SILENCE = 10.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("streaming")
    for name, body in WRAPPERS.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text("import time\n" + wrapper(body))
    return made


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@pytest.fixture(params=["http", "sse", "stdio"])
def transport(request: pytest.FixtureRequest) -> Transport:
    return request.param


@pytest.fixture(autouse=True)
async def bounded() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


class Ear:
    """Hears the progress of one call: value, message and text tag, with the time of arrival."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.heard: list[types.ProgressNotificationParams] = []
        self.times: list[float] = []

    async def __call__(self, message: object) -> None:
        if isinstance(message, types.ProgressNotification):
            self.heard.append(message.params)
            self.times.append(time.monotonic() - self.began)

    def text(self) -> dict[str, str]:
        """The streamed text by the source it is tagged with."""
        said: defaultdict[str, str] = defaultdict(str)
        for params in self.heard:
            if (tag := (params.meta or {}).get(TEXT)) is not None:
                said[tag.get("source", "")] += params.message or ""
        return dict(said)


async def ignore(value: float, total: float | None, message: str | None) -> None:
    """Asks for progress; `Ear` hears it with its tags."""


def is_so(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return condition()

    return check


async def test_two_sources_at_once_arrive_whole_in_order_and_at_most_ten_times_a_second(
    served: Served, transport: Transport, mode: Mode
) -> None:
    ear = Ear()
    async with served.client(transport, mode, message_handler=ear) as client:
        result = await client.call_tool("duet", {"seconds": 2}, progress_callback=ignore)
        await until(is_so(lambda: ear.text() == result.structured_content))
    # the last four wait for no beat, and a client that is busy hears the first two late
    assert len(ear.heard) <= (ear.times[-1] - ear.times[0]) * 10 + 6
    assert all(after.progress > before.progress for before, after in pairwise(ear.heard))


async def test_the_first_word_does_not_wait(served: Served, mode: Mode) -> None:
    ear = Ear()
    client = served.client("http", mode, message_handler=ear)
    async with client, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.call_tool("pause", {}, progress_callback=ignore))
        await until(is_so(lambda: ear.text() == {"": "first"}), limit=5)
        tasks.cancel_scope.cancel()


async def test_silent_work_gives_sign_after_sign_of_life_that_names_it(served: Served) -> None:
    ears: dict[tuple[str, Mode], Ear] = {}

    async def work(tool: str, mode: Mode) -> None:
        ear = ears[tool, mode] = Ear()
        async with served.client("http", mode, message_handler=ear) as client:
            ear.began = time.monotonic()
            await client.call_tool(tool, {"seconds": 16.5}, progress_callback=ignore)
            ear.times.append(time.monotonic() - ear.began)

    async with anyio.create_task_group() as tasks:
        for tool in ("silent", "mute"):
            tasks.start_soon(work, tool, "legacy")
            tasks.start_soon(work, tool, "auto")
    for (tool, _), ear in ears.items():
        assert all(after - before < LONGEST_SILENCE for before, after in pairwise([0, *ear.times]))
        assert all(after.progress > before.progress for before, after in pairwise(ear.heard))
        *_, last = ear.heard
        assert (last.message or "").startswith(
            "reading the archive" if tool == "silent" else "mute is running"
        )
        assert ear.text() == {}
        assert len(ear.heard) == (3 if tool == "silent" else 2)


async def test_a_client_that_asks_for_no_progress_hears_none(served: Served, mode: Mode) -> None:
    ear = Ear()
    async with served.client("http", mode, message_handler=ear) as client:
        await client.call_tool("duet", {"seconds": 0.2})
    assert ear.heard == []
