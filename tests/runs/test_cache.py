"""A pipeline that caches gives a result again, to whom it may, for as long as it may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from mcp_server.models import Answers, Caller, Client, Event, Json, Question, Run
from mcp_server.runs.cache import BYTES
from mcp_server.server import Server

from .conftest import Open, attended

pytestmark = pytest.mark.anyio

ADA, BOB = Caller(name="ada"), Caller(name="bob")
HEAD = "from mcp_server import Context, PipelineWrapper as Base\n\n\nclass PipelineWrapper(Base):\n"
WRAPPERS = {
    "count": """
    cache = 600
    calls = 0

    def run_api(self, number: int, text: str = "") -> int:
        if number < 0:
            raise ValueError("too small")
        self.calls += 1
        return self.calls
""",
    "short": """
    cache = 0.05
    calls = 0

    def run_api(self) -> int:
        self.calls += 1
        return self.calls
""",
    "asks": """
    cache = 600

    async def run_api_async(self, context: Context) -> str:
        answer = await context.ask("Who?", {"type": "object", "properties": {"name": {"type": "string"}}})
        return answer.value["name"] if answer else "nobody"
""",
    "leaves": """
    cache = 600

    def run_api(self, context: Context) -> str:
        context.artifact("a.txt", "text")
        return "left"
""",
    "long": """
    cache = 600

    def run_api(self, number: int) -> str:
        return "x" * 1_000_000
""",
}


@pytest.fixture(autouse=True)
def wrappers(serving: Open, tmp_path: Path) -> None:
    """More pipelines, beside those that all tests of this folder have."""
    for name, body in WRAPPERS.items():
        (tmp_path / "pipelines" / name).mkdir()
        (tmp_path / "pipelines" / name / "pipeline_wrapper.py").write_text(HEAD + body)


async def called(server: Server, name: str, inputs: Json, caller: Caller = ADA) -> Run:
    return await attended(server, caller, name, inputs)


async def test_the_same_call_gives_the_result_of_the_run_that_was(serving: Open) -> None:
    async with serving() as server:
        first = await called(server, "count", {"number": 1, "text": "a"})
        again = await called(server, "count", {"text": "a", "number": 1})
        assert (again.id, again.result) == (first.id, first.result)
        assert again.cached and not first.cached
        counted = (await server.runs.past.statistics("count")).whole
        assert (counted.total, counted.cached, server.catalog.status("count").calls) == (1, 1, 2)
    async with serving() as server:  # it ended with the server; the counts did not
        assert not (await called(server, "count", {"number": 1, "text": "a"})).cached
        counted = (await server.runs.past.statistics("count")).whole
        assert (counted.total, counted.cached) == (2, 1)


async def test_what_may_give_something_else_runs(serving: Open, tmp_path: Path) -> None:
    async with serving(reload=True) as server:
        first = await called(server, "count", {"number": 1})
        header = Client(headers={"authorization": "someone else"})
        for other in (
            await called(server, "count", {"number": 2}),
            await called(server, "count", {"number": 1}, BOB),
            (await server.runs.start(ADA, "count", {"number": 1}, key="k")).run,
            (await server.runs.start(ADA, "count", {"number": 1}, client=header)).run,
            (await server.runs.start(ADA, "count", {"number": 1}, detached=True)).run,
            (await server.recorded.rerun(ADA, first.id)).run,
        ):
            assert not other.cached and other.id != first.id
        path = tmp_path / "pipelines" / "count" / "pipeline_wrapper.py"
        path.write_text(path.read_text() + "\n# another version\n")
        while server.catalog.status("count").version != "2":
            await anyio.sleep(0.02)
        assert not (await called(server, "count", {"number": 1})).cached


async def test_a_result_is_given_again_only_so_long(serving: Open) -> None:
    async with serving() as server:
        first = await called(server, "short", {})
        while (await called(server, "short", {})).id == first.id:
            await anyio.sleep(0.01)


async def test_failures_and_results_with_artifacts_are_not_kept(serving: Open) -> None:
    async with serving() as server:
        for name, inputs in (("count", {"number": -1}), ("leaves", {})):
            first, again = await called(server, name, inputs), await called(server, name, inputs)
            assert first.id != again.id and not again.cached


async def test_a_run_that_asked_is_asked_again(serving: Open) -> None:
    async with serving() as server:

        def answering(name: str) -> Callable[[Event], object]:
            async def hear(event: Event) -> Answers | None:
                if isinstance(event, Question):
                    return {key: {"action": "accept", "content": {"name": name}} for key in event.requests}
                return None

            return hear

        for name in ("Ada", "Bob"):
            run = await attended(server, ADA, "asks", {}, answering(name))  # type: ignore[arg-type]
            assert run.result is not None and name.encode() in run.result.content


async def test_cleared_results_are_gone_those_of_others_are_not(serving: Open) -> None:
    async with serving(text_limit=10_000_000) as server:
        await called(server, "count", {"number": 1})
        await called(server, "count", {"number": 1}, BOB)
        await called(server, "long", {"number": 1})
        assert server.runs.cache.clear("double") == 0
        assert server.runs.cache.clear("count") == 2
        assert not (await called(server, "count", {"number": 1})).cached
        assert (await called(server, "long", {"number": 1})).cached
        assert server.runs.cache.clear() == 2


async def test_what_was_not_asked_for_longest_makes_room(serving: Open) -> None:
    async with serving(text_limit=10_000_000) as server:
        first = await called(server, "long", {"number": 0})
        for number in range(1, BYTES // 2_000_000 + 2):
            await called(server, "long", {"number": number})
        assert (await called(server, "long", {"number": number})).cached
        assert (await called(server, "long", {"number": 0})).id != first.id
