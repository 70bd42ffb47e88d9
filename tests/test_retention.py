"""Steps and artifacts that go before their runs: the oldest first; what is needed stays, and runs say so."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import serve, until
from mcp import Client

from mcp_server.models import Artifact, Caller, Result, Run, StepDone
from mcp_server.store import Bound, Place, Retention
from mcp_server.store.changes import new_id
from mcp_server.store.history import History
from mcp_server.store.steps import Steps, Turn

pytestmark = pytest.mark.anyio

BOUND = 30.0
PIPELINE = """
from haystack import Pipeline, component
from mcp_server import Context, PipelineWrapper as Base


@component
class Double:
    @component.output_types(value=int)
    def run(self, value: int):
        return {"value": 2 * value}


class PipelineWrapper(Base):
    record = "steps"

    def setup(self):
        self.pipeline = Pipeline()
        self.pipeline.add_component("double", Double())

    def run_api(self, value: int, context: Context) -> str:
        \"\"\"Doubles, and leaves a file.\"\"\"
        context.artifact("value.txt", str(value).encode())
        return str(self.pipeline.run({"double": {"value": value}})["double"]["value"])
"""


@pytest.fixture(params=["file", "memory", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A new database of each kind."""
    if request.param == "postgresql":
        return request.getfixturevalue("cluster").database()
    return tmp_path / "state" / "state.db" if request.param == "file" else None


class Past:
    """Ended runs that each left two steps and two artifacts of ten bytes, one a day, the youngest today."""

    def __init__(self, history: History, days: int) -> None:
        self.history = history
        now = time.time()
        self.runs = [self.made(now - day * 86400) for day in reversed(range(days))]

    def made(self, begun: float, **more: Any) -> Run:
        """A run with all that it has; it ends unless `more` says otherwise."""
        left = tuple(Artifact(name=name, mime_type="text/plain", content=b"x" * 10) for name in "ab")
        run = Run.model_validate(
            {
                "id": f"{int(begun * 1000):012x}{new_id()[12:]}",
                "pipeline": "p",
                "version": 1,
                "digest": "d",
                "inputs": {},
                "caller": Caller(name="ada"),
                "timeout": 10.0,
                "started": begun,
                "recorded": 40,
                **more,
            }
        )
        self.history.record(run)
        for number, name in enumerate("uv"):
            given = {"component": name, "visit": 1, "began": number, "started": begun, "seconds": 0.1}
            step = StepDone(**given, inputs="i" * 10, outputs="o" * 10)
            self.history.step(run, step)
        if "status" not in more:
            result = Result(content=b"[]", artifacts=left)
            run = run.model_copy(update={"status": "done", "result": result, "finished": begun + 1})
            self.history.record(run)
        return run

    async def kept(self) -> list[tuple[int, int]]:
        """How many steps and artifacts each run has, the oldest run first."""
        found: list[tuple[int, int]] = []
        for run in self.runs:
            line = await Steps(self.history).line(run)
            left = [await self.history.artifact(run.id, name) for name in "ab"]
            assert ("steps" in line.swept, "artifacts" in line.swept) == (not line.steps, None in left)
            found.append((len(line.steps), sum(each is not None for each in left)))
        return found


WHOLE, NO_STEPS, NO_ARTIFACTS = (2, 2), (0, 2), (2, 0)


@pytest.mark.parametrize("bound", [Bound(number=5), Bound(days=2.5), Bound(bytes=119)])
async def test_steps_and_artifacts_go_the_oldest_first_and_leave_their_runs(
    place: Place, bound: Bound
) -> None:
    half = bound.bytes and Bound(bytes=59)  # artifacts have half the bytes of the steps
    whole = 3 if bound.days else 2
    for kept, less in (
        (Retention(steps=bound), NO_STEPS),
        (Retention(artifacts=half or bound), NO_ARTIFACTS),
    ):
        with anyio.fail_after(BOUND):
            async with History(place, kept) as history:
                past = Past(history, 5)
                await history.trim()
                assert await past.kept() == [less] * (5 - whole) + [WHOLE] * whole
                assert (await history.statistics("p")).whole.total % 5 == 0
                await history.change(lambda connection: connection.exec_driver_sql("DELETE FROM runs"))


async def test_the_bytes_that_went_count_for_their_run_no_more(place: Place) -> None:
    async with History(place, Retention(steps=Bound(number=0), artifacts=Bound(number=0))) as history:
        (run,) = Past(history, 1).runs
        await history.trim()
        sizes = await history.ask(lambda each: each.exec_driver_sql("SELECT size, swept FROM runs").all())
        assert [tuple(row) for row in sizes] == [(len(b"{}") + len(b"[]"), "steps artifacts")], run


@pytest.mark.parametrize("place", ["file", "postgresql"], indirect=True)
async def test_what_others_need_stays(place: Place) -> None:
    """What goes on, what a fork shares until that is over, and what was given to a run that is not over."""
    none = Bound(number=0)
    async with History(place) as history:
        past = Past(history, 1)
        now, (used,) = time.time(), past.runs
        waiting = past.made(now, status="waiting", inputs={"file": f"run://{used.id}/artifacts/a"})
        origin = past.made(now - 3)
        behind = (await Steps(history).line(origin)).steps[0]
        fork = past.made(now, status="running", parent=origin.id)
        assert await Steps(history).fork(fork, "full", Turn("v", behind.id, {})) is None
        past.runs = [used, origin]
        async with History(place, Retention(none, none, none)) as other:
            await other.trim()
        assert await past.kept() == [(0, 2), (2, 0)]
        assert [len((await Steps(history).line(each)).steps) for each in (waiting, fork)] == [2, 1]
        await history.commit(fork.model_copy(update={"status": "done", "finished": now}))
        await history.commit(waiting.model_copy(update={"status": "done", "finished": now}))
        await history.change(lambda each: each.exec_driver_sql("UPDATE runs SET expires = NULL"))
        async with History(place, Retention(steps=none, artifacts=none)) as other:
            await other.trim()
        assert await past.kept() == [(0, 0), (0, 0)]


async def test_a_run_says_that_its_steps_and_artifacts_are_no_longer_kept(tmp_path: Path) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    (folder / "double").mkdir(parents=True)
    (folder / "double" / "pipeline_wrapper.py").write_text(PIPELINE)
    async with serve(folder, state=state) as served, Client(f"{served.url}/mcp/manage") as client:
        called = await client.call_tool("double", {"value": 4})
        run = (called.meta or {})["haystack-mcp-server/run"]["id"]
    flags = ("--keep-steps", "0", "--keep-artifacts", "0")
    async with serve(folder, *flags, state=state) as served, Client(f"{served.url}/mcp/manage") as client:

        async def told(tool: str, **arguments: Any) -> Any:
            result = await client.call_tool(tool, {"run_id": run, **arguments})
            return result.content[0].model_dump()["text"] if result.is_error else result.structured_content

        async def swept() -> bool:
            return (await told("get_run")).get("no_longer_kept") == ["steps", "artifacts"]

        await until(swept, BOUND)
        shown = await told("get_run")
        assert (shown["status"], shown["result"], "steps" in shown) == ("done", {"result": "8"}, False)
        gone = f"The steps of run {run} are no longer kept."
        assert await told("get_run", step="double") == gone
        assert await told("fork_run", step="double") == await told("rewind_run", target_step="double") == gone
        address = f"run://{run}/artifacts/value.txt"
        assert await told("get_run", run_id=address) == f"There is no artifact {address}, or not any more."
        assert (await told("rerun"))["parent_run_id"] == run
        counted = await client.call_tool("get_statistics", {"pipeline": "double"})
        assert (counted.structured_content or {})["total"] >= 1
