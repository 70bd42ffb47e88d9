"""Haystack, prepared: runs stop between components, failures stay readable and leave nothing behind."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from haystack import Pipeline, component
from haystack.core.errors import PipelineRuntimeError

from mcp_server.models import Caller
from mcp_server.pipelines import haystack
from mcp_server.pipelines.context import Context, Stopped, current
from mcp_server.pipelines.fast import FastPipeline
from mcp_server.pipelines.haystack import MAX_REASON, install, reason

pytestmark = pytest.mark.anyio


@component
class Step:
    """Tells that it runs, then waits until it may end."""

    def __init__(self, told: threading.Event | None = None, may_end: threading.Event | None = None) -> None:
        self.told = told or threading.Event()
        self.may_end = may_end
        self.runs = 0

    @component.output_types(value=int)
    def run(self, value: int) -> dict[str, int]:
        self.runs += 1
        self.told.set()
        assert self.may_end is None or self.may_end.wait(10)
        return {"value": value + 1}


@component
class AsyncStep(Step):
    @component.output_types(value=int)
    async def run_async(self, value: int) -> dict[str, int]:
        return await asyncio.to_thread(self.run, value)


@component
class Failing:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @component.output_types(value=int)
    def run(self, value: int) -> dict[str, int]:
        raise self.error


def chain(*steps: Any, kind: type[Pipeline] = Pipeline) -> Pipeline:
    pipeline = kind()
    for number, step in enumerate(steps):
        pipeline.add_component(f"s{number}", step)
    for number in range(len(steps) - 1):
        pipeline.connect(f"s{number}.value", f"s{number + 1}.value")
    return pipeline


@pytest.fixture(autouse=True)
def installed() -> None:
    install()


@pytest.fixture
def run() -> Iterator[Context]:
    context = Context("run", Caller(), lambda event: None)
    token = current.set(context)
    yield context
    current.reset(token)


class Own(Pipeline):
    """A pipeline class of an author."""


@pytest.mark.parametrize("kind", [Pipeline, Own, FastPipeline])
async def test_a_sync_run_stops_before_the_next_component(run: Context, kind: type[Pipeline]) -> None:
    may_end = threading.Event()
    first, second = Step(may_end=may_end), Step()
    pipeline = chain(first, second, kind=kind)
    with anyio.fail_after(10):
        task = asyncio.create_task(asyncio.to_thread(pipeline.run, {"s0": {"value": 1}}))
        await asyncio.to_thread(first.told.wait, 10)
        run.stop()
        may_end.set()
        with pytest.raises(Stopped):
            await task
    assert (first.runs, second.runs) == (1, 0)


@pytest.mark.parametrize("step", [Step, AsyncStep])
@pytest.mark.parametrize("kind", [Pipeline, FastPipeline])
async def test_an_async_run_stops_before_the_next_component(
    run: Context, step: Callable[..., Step], kind: type[Pipeline]
) -> None:
    may_end = threading.Event()
    first, second = step(may_end=may_end), step()
    pipeline = chain(first, second, kind=kind)
    with anyio.fail_after(10):
        task = asyncio.create_task(pipeline.run_async({"s0": {"value": 1}}))
        await asyncio.to_thread(first.told.wait, 10)
        run.stop()
        may_end.set()
        with pytest.raises(Stopped):
            await task
    assert (first.runs, second.runs) == (1, 0)


async def test_runs_without_a_context_or_not_to_be_stopped_go_to_their_end(run: Context) -> None:
    pipeline = chain(Step(), Step())
    assert pipeline.run({"s0": {"value": 1}}) == {"s1": {"value": 3}}
    assert await pipeline.run_async({"s0": {"value": 1}}) == {"s1": {"value": 3}}
    done: list[Any] = []
    outside = threading.Thread(target=lambda: done.append(pipeline.run({"s0": {"value": 1}})))
    run.stop()  # which is none of the thread's business: it did not inherit the run
    outside.start()
    outside.join(10)
    assert done == [{"s1": {"value": 3}}]


def test_installing_again_changes_nothing() -> None:
    before = Pipeline._run_component, Pipeline._run_component_async
    install()
    assert (Pipeline._run_component, Pipeline._run_component_async) == before


def test_a_haystack_without_the_private_functions_is_served_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(Pipeline, "_run_component")
    with caplog.at_level(logging.WARNING):
        install()
    assert "_run_component" in caplog.text


def test_haystack_logs_warnings_only_unless_somebody_chose_a_level() -> None:
    logger = logging.getLogger("haystack")
    chosen = logger.level
    try:
        logger.setLevel(logging.NOTSET)
        install()
        assert logger.level == logging.WARNING
        logger.setLevel(logging.DEBUG)
        install()
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(chosen)


def test_a_component_that_fails_where_nothing_can_be_written_still_tells_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineRuntimeError) as failed:
        chain(Failing(ValueError("my fault"))).run({"s0": {"value": 1}})
    assert reason(failed.value) == "s0: ValueError: my fault"
    assert failed.value.pipeline_snapshot is not None
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_a_reason_names_the_component_and_its_own_error() -> None:
    pipeline = chain(Step(), Failing(KeyError("name")))
    for error in (
        await failure(pipeline.run, {"s0": {"value": 1}}),
        await failure(pipeline.run_async, {"s0": {"value": 1}}),
    ):
        assert reason(error) == "s1: KeyError: 'name'"


async def failure(run: Callable[[Any], Any], data: Any) -> BaseException:
    with pytest.raises(PipelineRuntimeError) as failed:
        result = run(data)
        await result
    return failed.value


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("one\n  two"), "ValueError: one two"),
        (
            FileNotFoundError(2, "No such file", "/home/ada/pipelines/data.csv"),
            "FileNotFoundError: [Errno 2] No such file: 'data.csv'",
        ),
        (ValueError(r"bad C:\Users\ada\data.csv here"), "ValueError: bad data.csv here"),
        (
            ValueError("see https://example.org/a/b and/or 1/2 of m/s"),
            "ValueError: see https://example.org/a/b and/or 1/2 of m/s",
        ),
        (PipelineRuntimeError(None, None, "all components are blocked"), "all components are blocked"),
        (Mute(), "Mute"),
        (ValueError(), "ValueError"),
    ],
)
def test_a_reason_is_one_line_without_folders(error: Exception, told: str) -> None:
    assert reason(error) == told


def test_a_reason_is_short_whatever_the_error_says() -> None:
    assert len(reason(ValueError("x" * 10_000_000))) == MAX_REASON


def test_what_runs_inside_another_pipeline_is_named_by_the_innermost_component() -> None:
    @component
    class Inner:
        @component.output_types(value=int)
        def run(self, value: int) -> dict[str, int]:
            return chain(Failing(ValueError("deep"))).run({"s0": {"value": value}})["s0"]

    with pytest.raises(PipelineRuntimeError) as failed:
        chain(Step(), Inner()).run({"s0": {"value": 1}})
    assert reason(failed.value) == "s0: ValueError: deep"


def test_few_modules_know_how_haystack_runs_a_component() -> None:
    folder = Path(haystack.__file__).parents[1]
    knowing = {
        path.stem for path in folder.rglob("*.py") if "_run_component" in path.read_text(encoding="utf-8")
    }
    assert knowing == {"component_calls", "fast", "haystack"}
