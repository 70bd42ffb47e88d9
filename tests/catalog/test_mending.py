"""What was edited while no server looked: the edit if it loads, else the last version that worked."""

from __future__ import annotations

import os
import signal

import pytest

from .conftest import Place, until, wrapper

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("broken", ["def (", "raise RuntimeError('on import')"], ids=["syntax", "import"])
@pytest.mark.parametrize("engine", ["local", "hosts"])
async def test_a_broken_edit_at_start_leaves_the_last_version_that_worked_serving(
    place: Place, broken: str, engine: str
) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server():
        pass
    place.pipeline("adder", broken)
    for _ in range(2):
        async with place.server(engine=engine, wait=False) as server:
            assert await server.add("adder", 1) == 2
            await server.settled()
            status = server.catalog.status("adder")
            assert (status.status, status.version) == ("running", "1")
            assert "pipeline_wrapper.py, line 1" in str(status.error)
    place.pipeline("adder", wrapper(2))
    async with place.server() as server:
        assert await server.add("adder", 1) == 3
        assert server.catalog.status("adder").error is None


async def test_a_good_edit_at_start_is_served_and_not_the_version_before_it(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server():
        pass
    place.pipeline("adder", wrapper(2))
    async with place.server(wait=False) as server:
        assert await server.add("adder", 1) == 3
        await until(lambda: server.catalog.status("adder").version == "2")


async def test_mending_a_broken_edit_while_the_server_runs_serves_it(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server():
        pass
    place.pipeline("adder", "raise RuntimeError('on import')")
    async with place.server(reload=True) as server:
        assert await server.add("adder", 1) == 2
        place.pipeline("adder", wrapper(2))
        await until(lambda: server.catalog.status("adder").version == "2")
        assert server.catalog.status("adder").error is None
        assert await server.add("adder", 1) == 3


async def test_when_no_version_works_any_more_the_edit_and_its_problem_show(place: Place) -> None:
    fuse = place.folder.parent / "fuse"
    place.pipeline(
        "adder", wrapper(before=f"import pathlib\nassert not pathlib.Path({str(fuse)!r}).exists()")
    )
    async with place.server():
        pass
    fuse.touch()
    place.pipeline("adder", "raise RuntimeError('the edit')")
    async with place.server() as server:
        status = server.catalog.status("adder")
        assert status.status == "error" and "the edit" in str(status.error)
        assert server.tools == []


async def test_a_host_that_dies_comes_back_with_the_source_of_its_version(place: Place) -> None:
    """Edited without reload: the version that serves stays that version."""
    which = "import os\nfrom mcp_server import PipelineWrapper as Base\nclass PipelineWrapper(Base):\n"
    which += "    def run_api(self, number: int) -> int:\n        return os.getpid() * 10 + number\n"
    place.pipeline("adder", which)
    async with place.server(engine="hosts") as server:
        answer = await server.add("adder", 1)
        assert isinstance(answer, int)
        place.pipeline("adder", which.replace("+ number", "+ number + 1"))
        os.kill(answer // 10, signal.SIGKILL)
        run = await server.run("adder", 1)
        if run.status == "failed":  # it was sent to the host before its death was seen
            run = await server.run("adder", 1)
        again = server.value(run)
        assert isinstance(again, int)
        assert again // 10 != answer // 10 and again % 10 == 1
        assert (run.version, run.digest) == (1, server.catalog.status("adder").digest)
