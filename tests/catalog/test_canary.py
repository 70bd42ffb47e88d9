"""What serves beside production: a share of the calls, in hosts of their own, loaded when called."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcp_server.errors import Unavailable
from mcp_server.models import Caller

from .conftest import Opened, Place, until, wrapper

pytestmark = pytest.mark.anyio


def counted(adds: int, loads: Path, ends: Path) -> str:
    """A wrapper that leaves a mark whenever it is loaded and closed."""
    mark = "def mark(path):\n    with open(path, 'a') as file:\n        file.write('x')\n"
    end = f"def teardown(self):\n        mark({str(ends)!r})"
    return wrapper(adds, before=f"{mark}mark({str(loads)!r})", inside=end)


async def prepared(server: Opened, share: float, staged: str | None = None) -> None:
    """Version 2 in production adds 1, version 1 in staging adds 100."""
    await server.deploy("adder", staged or wrapper(100))
    await server.deploy("adder", wrapper(1), overwrite=True)
    await server.catalog.set_stage("adder", 1, "staging", share=share)


async def test_a_caller_stays_with_the_version_it_fell_to(place: Place) -> None:
    callers = [Caller(name=f"caller {number}") for number in range(400)]
    async with place.server() as server:
        await prepared(server, 0.25)
        first = [await server.add("adder", 1, caller=caller) for caller in callers]
        again = [await server.add("adder", 1, caller=caller) for caller in callers]
        await server.catalog.set_stage("adder", 1, "staging", share=0.5)
        wider = [await server.add("adder", 1, caller=caller) for caller in callers]
    assert first == again
    assert set(first) == {2, 101}
    assert 60 <= first.count(101) <= 140, "a quarter, within five deviations"
    assert 150 <= wider.count(101) <= 250
    assert all(now == 101 for now, before in zip(wider, first, strict=True) if before == 101)


async def test_callers_without_a_name_are_drawn_one_call_at_a_time(place: Place) -> None:
    async with place.server() as server:
        await prepared(server, 0.5)
        answers = [await server.add("adder", 1) for _ in range(400)]
        assert 150 <= answers.count(101) <= 250
        await server.catalog.set_stage("adder", 1, "staging", share=1)
        assert {await server.add("adder", 1) for _ in range(20)} == {101}
        await server.catalog.set_stage("adder", 1, "staging", share=0)
        assert {await server.add("adder", 1) for _ in range(20)} == {2}


async def test_a_canary_that_does_not_load_breaks_no_call_that_did_not_ask_for_it(place: Place) -> None:
    fuse = place.folder.parent / "fuse"
    async with place.server() as server:
        await prepared(
            server,
            1.0,
            wrapper(100, before=f"import pathlib\nassert not pathlib.Path({str(fuse)!r}).exists()"),
        )
        assert await server.add("adder", 1) == 101
    fuse.touch()
    async with place.server() as server:
        assert await server.add("adder", 1) == 2
        with pytest.raises(Unavailable, match="does not load"):
            await server.add("adder", 1, stage="staging")


async def test_a_canary_has_a_host_of_its_own(place: Place) -> None:
    which = "import os\nfrom mcp_server import PipelineWrapper as Base\nclass PipelineWrapper(Base):\n"
    which += "    def run_api(self, number: int) -> int:\n        return os.getpid()\n"
    async with place.server(engine="hosts") as server:
        await prepared(server, 0.0, which)
        await server.deploy("adder", which + "\n", overwrite=True)
        processes = {await server.add("adder", 1), await server.add("adder", 1, stage="staging")}
        assert len(processes) == 2
        assert await server.add("adder", 1, version=1) in processes


async def test_a_version_is_loaded_on_demand_and_closed_when_idle(place: Place, tmp_path: Path) -> None:
    loads, ends = tmp_path / "loads", tmp_path / "ends"
    async with place.server() as server:
        await server.deploy("adder", counted(100, loads, ends))
        await server.deploy("adder", wrapper(1), overwrite=True)
        await until(ends.exists)
    loads.unlink()
    ends.unlink()
    async with place.server(idle_timeout=0.5) as server:
        assert not loads.exists()
        assert [await server.add("adder", 1, version=1) for _ in range(3)] == [101] * 3
        assert loads.read_text() == "x"
        await until(ends.exists)
        assert await server.add("adder", 1, version=1) == 101
        assert loads.read_text() == "xx"


async def test_a_displaced_canary_is_closed(place: Place, tmp_path: Path) -> None:
    loads, ends = tmp_path / "loads", tmp_path / "ends"
    async with place.server() as server:
        await server.deploy("adder", counted(100, loads, ends))
        await server.deploy("adder", wrapper(1), overwrite=True)
        await server.deploy("adder", wrapper(2), overwrite=True)
        await until(ends.exists)
        ends.unlink()
        await server.catalog.set_stage("adder", 1, "staging", share=1)
        assert await server.add("adder", 1) == 101
        await server.catalog.set_stage("adder", 2, "staging", share=1)
        await until(ends.exists)
        assert await server.add("adder", 1) == 2


async def test_a_promoted_canary_goes_on_without_a_gap(place: Place) -> None:
    async with place.server() as server:
        await prepared(server, 1.0)
        assert await server.add("adder", 1) == 101
        await server.catalog.set_stage("adder", 1, "production")
        assert {await server.add("adder", 1) for _ in range(5)} == {101}
        await server.catalog.undeploy("adder")
        await server.deploy("adder")
        assert await server.add("adder", 1) == 101
