"""What every engine promises, run over all of them: in this process, forked hosts, spawned hosts."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import orjson
import pytest

from mcp_server.errors import NotFound
from mcp_server.models import Chunk, Event, Group, Log, Manifest, Problem, Progress, Result

from .conftest import Bench, until

pytestmark = pytest.mark.anyio


def value(result: Result) -> object:
    """The structured answer of a result that must not be an error."""
    assert not result.is_error, result.content
    assert result.structured is not None
    return orjson.loads(result.structured)["result"]


def reason(result: Result) -> str:
    """The text of a result that must be an error."""
    assert result.is_error
    return orjson.loads(result.content)[0]["text"]


async def test_blocking_and_async_pipelines_answer(bench: Bench) -> None:
    sync = bench.member("sync", "def run_api(self, n: int) -> int:\n    return n + 1")
    native = bench.member("native", "async def run_api(self, n: int) -> int:\n    return n * 2")
    outcomes = await bench.serve(sync, native)
    assert [type(each) for each in outcomes.values()] == [Manifest, Manifest]
    assert [each.blocking for each in outcomes.values() if isinstance(each, Manifest)] == [True, False]
    assert value(await bench.call("sync", n=1)) == 2
    assert value(await bench.call("native", n=4)) == 8


async def test_an_unknown_pipeline_is_refused(bench: Bench) -> None:
    with pytest.raises(NotFound, match="nobody"):
        await bench.call("nobody")


@pytest.mark.parametrize("how", ["def", "async def"])
async def test_events_arrive_in_order_before_the_result(bench: Bench, how: str) -> None:
    body = f"""
        {how} run_api(self, context: Context) -> str:
            for done in range(3):
                context.progress(done, 3, f"part {{done}}")
            context.log("warning", {{"seen": 3}})
            for word in ("a", "b"):
                context.chunk(word, "model")
            return "end"
    """
    await bench.serve(bench.member("talker", body))
    heard: list[Event] = []

    async def listen(event: Event) -> None:
        heard.append(event)

    assert value(await bench.call("talker", listen)) == "end"
    assert heard == [
        *(Progress(done=done, total=3, message=f"part {done}") for done in range(3)),
        Log(level="warning", data={"seen": 3}),
        Chunk(text="a", source="model"),
        Chunk(text="b", source="model"),
    ]


@pytest.mark.parametrize("prefix", ["", "async "])
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("raise ValueError('the third line is empty')", "the third line is empty"),
        ("sys.exit(3)", "exit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise asyncio.CancelledError", "CancelledError"),
        ("raise BaseException('odd')", "odd"),
        ("raise MemoryError", "memory"),
    ],
)
async def test_whatever_a_pipeline_raises_is_an_error_result(
    bench: Bench, prefix: str, statement: str, words: str
) -> None:
    await bench.serve(bench.member("bad", f"{prefix}def run_api(self) -> str:\n    {statement}"))
    text = reason(await bench.call("bad"))
    assert words in text
    assert "Traceback" not in text and str(bench.folder) not in text


@pytest.mark.parametrize(
    ("method", "work"),
    [
        ("async def", "await asyncio.sleep(60)"),
        ("def", "for _ in range(6000): time.sleep(0.01)"),
    ],
)
async def test_a_run_out_of_time_is_answered_and_stopped(
    bench: Bench, method: str, work: str, tmp_path: Path
) -> None:
    mark = tmp_path / "stopped"
    body = f"""
        {method} run_api(self, mark: str) -> str:
            try:
                {work}
            finally:
                open(mark, "w").close()
    """
    await bench.serve(bench.member("slow", body))
    before = time.monotonic()
    text = reason(await bench.call("slow", timeout=0.5, mark=str(mark)))
    assert time.monotonic() - before < 1.5
    assert "timeout of 0.5 s" in text
    await until(mark.exists, within=5)


async def test_cancelling_a_call_stops_its_work(bench: Bench, tmp_path: Path) -> None:
    begun, stopped = tmp_path / "begun", tmp_path / "stopped"
    body = """
        async def run_api(self, begun: str, stopped: str) -> str:
            open(begun, "w").close()
            try:
                await asyncio.sleep(60)
            finally:
                open(stopped, "w").close()
    """
    await bench.serve(bench.member("slow", body))
    async with anyio.create_task_group() as tasks:

        async def call() -> None:
            await bench.call("slow", begun=str(begun), stopped=str(stopped))

        tasks.start_soon(call)
        await until(begun.exists)
        tasks.cancel_scope.cancel()
    await until(stopped.exists, within=5)


async def test_a_broken_pipeline_is_a_problem_and_its_neighbours_serve(bench: Bench) -> None:
    good = bench.member("good", "def run_api(self) -> str:\n    return 'ok'")
    bad = bench.member(
        "bad", "def setup(self):\n    raise RuntimeError('no index')\ndef run_api(self) -> str: ..."
    )
    outcomes = await bench.serve(bad, good)
    problem = outcomes["bad"]
    assert isinstance(problem, Problem)
    assert "no index" in problem.message and problem.file == "pipeline_wrapper.py" and problem.line == 6
    assert value(await bench.call("good")) == "ok"
    assert "no index" in reason(await bench.call("bad"))


async def test_a_new_generation_takes_over_and_the_old_one_ends_its_calls(
    bench: Bench, tmp_path: Path
) -> None:
    begun, may_end, closed = tmp_path / "begun", tmp_path / "may_end", tmp_path / "closed"
    body = """
        async def run_api(self, begun: str = "", until: str = "") -> str:
            if begun:
                open(begun, "w").close()
            while until and not os.path.exists(until):
                await asyncio.sleep(0.01)
            return {answer!r}
        def teardown(self):
            open({closed!r}, "w").close()
    """
    await bench.serve(bench.member("p", body.format(answer="old", closed=str(closed))))
    answers: list[object] = []

    async def call() -> None:
        answers.append(value(await bench.call("p", begun=str(begun), until=str(may_end))))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await until(begun.exists)
        await bench.serve(bench.member("p", body.format(answer="new", closed=str(tmp_path / "other"))))
        assert value(await bench.call("p")) == "new"
        assert not closed.exists()
        may_end.touch()
    assert answers == ["old"]
    await until(closed.exists)


async def test_a_released_pipeline_is_closed_and_its_neighbour_goes_on(bench: Bench, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    body = "def run_api(self) -> int:\n    return 1\ndef teardown(self):\n    open({!r}, 'w').close()"
    gone = bench.member("gone", body.format(str(closed)))
    stays = bench.member("stays", body.format(str(tmp_path / "other")))
    await bench.serve(gone, stays)
    bench.engine.release("gone", bench.digests["gone"])
    await until(closed.exists)
    with pytest.raises(NotFound):
        await bench.call("gone")
    assert value(await bench.call("stays")) == 1


async def test_calls_beyond_the_declared_concurrency_wait_for_their_turn(bench: Bench) -> None:
    body = """
        def setup(self):
            self.now = self.most = 0
        async def run_api(self) -> int:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.02)
            self.now -= 1
            return self.most
    """
    await bench.serve(bench.member("narrow", body, concurrency=2))
    most: list[object] = []

    async def call() -> None:
        most.append(value(await bench.call("narrow")))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(call)
    assert max(most) == 2  # type: ignore[type-var]


async def test_a_discarded_generation_never_serves_and_is_closed(bench: Bench, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    teardown = f"def teardown(self):\n    open({str(closed)!r}, 'w').close()"
    body = f"def run_api(self) -> int:\n    return 1\n{teardown}"
    generation = bench.engine.open(Group(name="g", members=(bench.member("p", body),)))
    assert isinstance((await generation.settled())["p"], Manifest)
    await bench.engine.discard(generation)
    assert closed.exists()
    with pytest.raises(NotFound):
        await bench.call("p")


async def test_a_result_above_the_limit_is_an_error_that_says_so(bench: Bench) -> None:
    await bench.serve(bench.member("large", "def run_api(self, size: int) -> str:\n    return 'x' * size"))
    assert value(await bench.call("large", size=10_000)) == "x" * 10_000
    assert "more than the 100,000 allowed" in reason(await bench.call("large", size=100_000_000))
