"""Edits of the folder while the server runs with `--reload`."""

from __future__ import annotations

import shutil

import pytest

from .conftest import YAML, Opened, Place, until, wrapper

pytestmark = pytest.mark.anyio


async def version(server: Opened, name: str, number: str | None) -> None:
    """Wait until this version of the pipeline serves."""
    known = server.catalog.statuses
    await until(lambda: any((each.name, each.version) == (name, number) for each in known()))


async def test_an_edit_is_a_new_version_and_going_back_is_the_old_one(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    place.pipeline("other", wrapper(100))
    async with place.server(reload=True) as server:
        revision = server.catalog.snapshot.revision
        place.pipeline("adder", wrapper(2))
        await version(server, "adder", "2")
        assert await server.add("adder", 1) == 3
        assert await server.add("other", 1) == 101
        assert server.catalog.snapshot.revision > revision
        place.pipeline("adder", wrapper(1))
        await version(server, "adder", "1")
        assert await server.add("adder", 1) == 2
        assert server.catalog.status("other").version == "1"


async def test_a_broken_edit_keeps_the_old_version_serving_and_shows(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    async with place.server(reload=True) as server:
        for broken in ("def (", "raise RuntimeError('on import')"):
            place.pipeline("adder", broken)
            await until(lambda: server.catalog.status("adder").error is not None)
            status = server.catalog.status("adder")
            assert (status.status, status.version) == ("running", "1")
            assert "pipeline_wrapper.py, line 1" in str(status.error)
            assert await server.add("adder", 1) == 2
            place.pipeline("adder", wrapper(1))
            await until(lambda: server.catalog.status("adder").error is None)
        place.pipeline("adder", wrapper(2))
        await version(server, "adder", "2")


async def test_a_broken_edit_does_not_hold_up_a_good_one_beside_it(place: Place) -> None:
    place.pipeline("adder", wrapper(1))
    place.pipeline("other", wrapper(10))
    async with place.server(reload=True) as server:
        place.pipeline("adder", "raise RuntimeError('on import')")
        place.pipeline("other", wrapper(20))
        await version(server, "other", "2")
        await until(lambda: server.catalog.status("adder").error is not None)
        assert await server.add("other", 1) == 21
        assert await server.add("adder", 1) == 2, "the old version serves from its copy"


async def test_new_folders_come_and_removed_ones_go(place: Place) -> None:
    async with place.server(reload=True) as server:
        place.pipeline("adder", wrapper(1))
        place.write("hello.yml", YAML)
        await until(lambda: server.tools == ["adder", "hello"])
        place.pipeline("broken", "raise RuntimeError('never loaded')")
        await until(lambda: len(server.catalog.statuses()) == 3)
        assert server.catalog.status("broken").status == "error"
        shutil.rmtree(place.folder / "adder")
        await until(lambda: server.tools == ["hello"])
        place.pipeline("adder", wrapper(1))
        await version(server, "adder", "1")


async def test_an_undeployed_or_shadowed_pipeline_stays_so_when_its_files_change(place: Place) -> None:
    place.pipeline("resting", wrapper(1))
    place.pipeline("shadowed", wrapper(1))
    place.pipeline("plain", wrapper(1))
    async with place.server(reload=True) as server:
        await server.catalog.undeploy("resting")
        await server.deploy("shadowed", wrapper(10), overwrite=True)
        for name in ("resting", "shadowed", "plain"):
            place.pipeline(name, wrapper(2))
        await version(server, "plain", "2")
        assert server.catalog.status("resting").status == "undeployed"
        assert await server.add("shadowed", 1) == 11


async def test_an_old_version_reaches_its_data_files_from_its_copy(place: Place) -> None:
    read = "from pathlib import Path\nDATA = (Path(__file__).parent / 'data.bin').read_bytes()[0]"
    place.write("adder/data.bin", b"\xff")
    place.pipeline("adder", wrapper(before=read).replace("+ 1", "+ DATA"))
    place.pipeline("other", wrapper(1))
    async with place.server(reload=True) as server:
        assert await server.add("adder", 1) == 256
        place.pipeline("adder", "def (")
        place.pipeline("other", wrapper(2))
        await version(server, "other", "2")
        assert await server.add("adder", 1) == 256
