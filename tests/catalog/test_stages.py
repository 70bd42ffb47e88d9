"""Stages: promotion, roll back, pins, staging; what they displace; and that no call is lost on the way."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping

import anyio
import pytest

from mcp_server.errors import Broken, Conflict, Invalid, NotFound, Unavailable

from .conftest import Opened, Place, until, wrapper

pytestmark = pytest.mark.anyio


def waiting(adds: int) -> str:
    """A wrapper that takes its time."""
    return f'''
import asyncio
from mcp_server import PipelineWrapper as Base

class PipelineWrapper(Base):
    async def run_api(self, number: int) -> int:
        """Adds {adds}."""
        await asyncio.sleep(0.05)
        return number + {adds}
'''


async def deployed(server: Opened, *texts: str, name: str = "adder") -> None:
    """One version after the other."""
    for text in texts:
        await server.deploy(name, text, overwrite=True)


async def stages(server: Opened, name: str = "adder") -> Mapping[int, str]:
    return {each.number: each.stage for each in await server.catalog.versions(name)}


async def test_the_newest_deploy_is_in_production_and_what_it_displaces_is_in_none(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1), wrapper(2), wrapper(3))
        assert await stages(server) == {3: "production", 2: "none", 1: "none"}
        assert server.catalog.status("adder").stages == {"production": "3"}


async def test_a_roll_back_is_one_call_and_survives_a_restart(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1), wrapper(2))
        changed = await server.catalog.set_stage("adder", 1, "production", archive_existing=True)
        assert (changed.number, changed.stage) == (1, "production")
        assert await server.add("adder", 1) == 2
    async with place.server() as server:
        assert await server.add("adder", 1) == 2
        assert await stages(server) == {2: "archived", 1: "production"}
        await server.catalog.set_stage("adder", 2, "production")
        assert await stages(server) == {2: "production", 1: "none"}
        assert await server.add("adder", 1) == 3


async def test_a_folder_edit_gets_production_unless_a_version_is_pinned(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server(reload=True) as server:
        place.pipeline("adder", wrapper(2))
        await until(lambda: server.catalog.status("adder").version == "2")
        await server.catalog.set_stage("adder", 1, "production")
        place.pipeline("adder", wrapper(3))
        place.pipeline("other", wrapper(9))
        await until(lambda: "other" in server.tools)
        assert await server.add("adder", 1) == 2
    async with place.server() as server:
        assert await server.add("adder", 1) == 2, "a pin survives a restart"
        await server.catalog.set_stage("adder", 1, "none")
        assert await server.add("adder", 1) == 4, "without it the folder is followed again"
        assert server.catalog.status("adder").stages == {"production": "3"}


async def test_a_pinned_version_reaches_its_data_files_from_its_copy(place: Place) -> None:
    read = "from pathlib import Path\nDATA = (Path(__file__).parent / 'data.bin').read_bytes()[0]"
    place.write("adder/data.bin", b"\xff")
    place.pipeline("adder", wrapper(before=read).replace("+ 1", "+ DATA"))
    async with place.server(reload=True) as server:
        place.pipeline("adder", wrapper(2))
        await until(lambda: server.catalog.status("adder").version == "2")
        assert await server.add("adder", 1, version=1) == 256
        await server.catalog.set_stage("adder", 1, "production")
        assert await server.add("adder", 1) == 256


async def test_a_version_whose_folder_is_gone_can_be_brought_back(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server(reload=True) as server:
        shutil.rmtree(place.folder / "adder")
        await until(lambda: server.tools == [])
        await server.catalog.set_stage("adder", 1, "production")
        assert await server.add("adder", 1) == 2


async def test_staging_is_called_by_name_and_leaves_production_alone(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(2), wrapper(1))
        changed = await server.catalog.set_stage("adder", 1, "staging")
        assert (changed.stage, changed.share) == ("staging", 0.0)
        assert await server.add("adder", 1) == 2
        assert await server.add("adder", 1, stage="staging") == 3
        assert await server.add("adder", 1, stage="production") == 2
        assert await server.add("adder", 1, version=1) == 3
        status = server.catalog.status("adder")
        assert (status.stages, status.share) == ({"production": "2", "staging": "1"}, 0.0)
    async with place.server() as server:
        assert await server.add("adder", 1, stage="staging") == 3
        await server.catalog.set_stage("adder", 1, "production", archive_existing=True)
        assert await stages(server) == {2: "archived", 1: "production"}
        with pytest.raises(NotFound, match="staging"):
            await server.add("adder", 1, stage="staging")


async def test_a_displaced_version_of_staging_goes_to_none_or_is_archived(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, *map(wrapper, range(4)))
        for number, archive in ((1, False), (2, False), (3, True)):
            await server.catalog.set_stage("adder", number, "staging", archive_existing=archive)
        assert await stages(server) == {4: "production", 3: "staging", 2: "archived", 1: "none"}
        await server.catalog.set_stage("adder", 3, "archived")
        await server.catalog.set_stage("adder", 2, "none")
        assert await stages(server) == {4: "production", 3: "archived", 2: "none", 1: "none"}


@pytest.mark.parametrize("stage", ["none", "archived", "staging"])
async def test_production_is_never_left_empty(place: Place, stage: str) -> None:
    place.pipeline("mine", wrapper(1))
    async with place.server() as server:
        await deployed(server, wrapper(1))
        for name in ("adder", "mine"):
            with pytest.raises(Conflict, match="in production"):
                await server.catalog.set_stage(name, 1, stage)  # pyright: ignore[reportArgumentType]
            assert await server.add(name, 1) == 2


async def test_a_choice_that_makes_no_sense_is_refused(place: Place) -> None:
    async with place.server() as server:
        await deployed(server, wrapper(1), wrapper(2))
        catalog = server.catalog
        with pytest.raises(Invalid, match="stage is one of"):
            await catalog.set_stage("adder", 1, "best")  # pyright: ignore[reportArgumentType]
        for stage, share in (("production", 0.5), ("staging", 1.5), ("staging", -1.0)):
            with pytest.raises(Invalid, match="share"):
                await catalog.set_stage("adder", 1, stage, share=share)  # pyright: ignore[reportArgumentType]
        with pytest.raises(NotFound, match="no version 7"):
            await catalog.set_stage("adder", 7, "production")
        with pytest.raises(NotFound, match="no version 7"):
            await catalog.find("adder", version=7)
        with pytest.raises(NotFound, match="no pipeline named nobody"):
            await catalog.find("nobody", version=1)
        with pytest.raises(Invalid, match="not both"):
            await catalog.find("adder", version=1, stage="staging")
        with pytest.raises(Invalid, match="production or staging"):
            await catalog.find("adder", stage="archived")
        await catalog.undeploy("adder")
        with pytest.raises(NotFound, match="undeployed"):
            await catalog.find("adder", version=1)


async def test_a_version_that_does_not_load_any_more_gets_no_stage(place: Place) -> None:
    fuse = place.folder.parent / "fuse"
    blown = wrapper(1, before=f"import pathlib\nassert not pathlib.Path({str(fuse)!r}).exists()")
    async with place.server() as server:
        await deployed(server, blown, wrapper(2))
        fuse.touch()
        with pytest.raises(Broken):
            await server.catalog.set_stage("adder", 1, "production")
        with pytest.raises(Unavailable, match="Version 1 of adder does not load"):
            await server.catalog.set_stage("adder", 1, "staging")
        assert await stages(server) == {2: "production", 1: "none"}
        assert await server.add("adder", 1) == 3


async def test_two_servers_agree_on_stages(place: Place) -> None:
    async with place.server() as one, place.server() as two:
        await deployed(one, wrapper(1), wrapper(2), wrapper(3))
        await until(lambda: "adder" in two.tools)
        await one.catalog.set_stage("adder", 1, "production")
        await one.catalog.set_stage("adder", 2, "staging", share=0)
        wanted = {"production": "1", "staging": "2"}
        await until(lambda: two.catalog.status("adder").stages == wanted)
        assert await two.add("adder", 1) == 2 and await two.add("adder", 1, stage="staging") == 3
        await two.catalog.set_stage("adder", 2, "production")
        await until(lambda: one.catalog.status("adder").stages == {"production": "2"})
        assert await one.add("adder", 1) == 3


@pytest.mark.parametrize("engine", ["local", "hosts"])
async def test_no_call_in_flight_is_lost_when_versions_change(place: Place, engine: str) -> None:
    """200 calls in flight all the time, over three changes of stage; each is answered by one version."""
    async with place.server(engine=engine, waiting_calls=400) as server:
        await deployed(server, waiting(1000), waiting(2000))
        answers: Counter[tuple[int, int]] = Counter()
        over = anyio.Event()

        async def call_on() -> None:
            while not over.is_set():
                run = await server.run("adder", 1)
                answer = server.value(run)
                assert isinstance(answer, int)
                answers[run.version, answer] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(call_on)
            for number in (1, 2, 1):
                before = answers.total()
                await until(lambda before=before: answers.total() > before + 200)
                await server.catalog.set_stage("adder", number, "production")
            before = answers.total()
            await until(lambda: answers.total() > before + 400)
            over.set()
    assert set(answers) == {(1, 1001), (2, 2001)}, "the answer comes from the version the run names"


async def test_an_edit_over_a_pin_is_loaded_by_nobody(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server(reload=True) as server:
        await server.catalog.set_stage("adder", 1, "production")
        place.pipeline("adder", "raise RuntimeError('no')")
        place.pipeline("other", wrapper(9))
        await until(lambda: "other" in server.tools)
        status = server.catalog.status("adder")
        assert (status.status, status.version, status.error) == ("running", "1", None)
