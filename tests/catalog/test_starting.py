"""The start: what is listed before anything is loaded, and what a cache may and may not do."""

from __future__ import annotations

import anyio
import pytest

from mcp_server.catalog import VersionStatus

from .conftest import Place, until, wrapper

pytestmark = pytest.mark.anyio


def slow(adds: int, gate: str) -> str:
    """A wrapper that loads only when the file `gate` exists."""
    wait = f"import pathlib, time\nwhile not pathlib.Path({gate!r}).exists():\n    time.sleep(0.01)"
    return wrapper(adds, before=wait)


def blown(fuse: str) -> str:
    """A wrapper that loads only as long as the file `fuse` does not exist."""
    return wrapper(before=f"import pathlib\nassert not pathlib.Path({fuse!r}).exists()")


async def test_opening_returns_before_anything_is_loaded(place: Place) -> None:
    gate = place.folder.parent / "gate"
    place.pipeline("adder", slow(1, str(gate)))
    async with place.server(wait=False) as server:
        assert server.catalog.snapshot.tools == ()
        assert (await server.catalog.ready(0.2)).tools == ()
        await until(lambda: bool(server.catalog.statuses()))
        assert server.catalog.status("adder").status == "loading"
        listed: list[VersionStatus] = []

        async def list_them() -> None:
            listed.extend(await server.catalog.versions("adder"))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(list_them)
                gate.touch()
                entry = await server.catalog.find("adder")
        assert entry.version.number == 1
        assert [each.number for each in listed] == [1]


async def test_a_second_start_lists_tools_before_anything_is_loaded(place: Place) -> None:
    gate = place.folder.parent / "gate"
    gate.touch()
    place.pipeline("adder", slow(1, str(gate)))
    async with place.server() as server:
        await server.deploy("upload", slow(2, str(gate)))
        first = server.catalog.snapshot.tools
    gate.unlink()
    async with place.server(wait=False) as server:
        with anyio.fail_after(5):
            assert (await server.catalog.ready()).tools == first
        assert {each.status for each in server.catalog.statuses()} == {"loading"}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.add, "adder", 1)
            gate.touch()
        await server.settled()
        assert server.catalog.snapshot.revision == 1


async def test_a_cached_tool_that_turns_out_different_is_replaced_and_told(place: Place) -> None:
    file = place.folder.parent / "text"
    file.write_text("First.")
    place.pipeline(
        "adder",
        "from pathlib import Path\nfrom mcp_server import PipelineWrapper as Base\n"
        "class PipelineWrapper(Base):\n"
        "    def run_api(self) -> int:\n        return 1\n"
        f"    run_api.__doc__ = Path({str(file)!r}).read_text()\n",
    )
    for expected in ("First.", "Second."):
        async with place.server(wait=False) as server:
            await server.catalog.ready(20)
            changes = server.catalog.subscribe()
            await server.settled()
            assert server.catalog.status("adder").description == expected
            if expected == "Second.":
                with anyio.fail_after(5):
                    assert await anext(changes) == server.catalog.snapshot.revision
        file.write_text("Second.")


async def test_a_cached_tool_that_does_not_load_any_more_is_taken_away(place: Place) -> None:
    fuse = place.folder.parent / "fuse"
    place.pipeline("adder", blown(str(fuse)))
    async with place.server() as server:
        assert server.tools == ["adder"]
    fuse.touch()
    for _ in range(2):
        async with place.server() as server:
            assert server.tools == []
            assert server.catalog.status("adder").status == "error"
    fuse.unlink()
    async with place.server() as server:
        assert server.tools == ["adder"]
        fuse.touch()


async def test_a_failed_pipeline_is_tried_again_by_a_deploy_without_files(place: Place) -> None:
    fuse = place.folder.parent / "fuse"
    fuse.touch()
    place.pipeline("adder", blown(str(fuse)))
    async with place.server() as server:
        assert server.catalog.status("adder").status == "error"
        fuse.unlink()
        assert (await server.deploy("adder")).status == "running"
        assert server.catalog.status("adder").error is None


async def test_calls_and_errors_are_counted_and_hidden_pipelines_not_listed(place: Place) -> None:
    place.pipeline("adder", wrapper(inside="hidden = True"))
    async with place.server() as server:
        assert server.tools == []
        assert await server.add("adder", 1) == 2
        server.catalog.count("adder", failed=True)
        status = server.catalog.status("adder")
        assert (status.status, status.calls, status.errors) == ("running", 2, 1)
        assert status.uptime > 0


async def test_a_slow_subscriber_hears_of_the_newest_revision_only(place: Place) -> None:
    async with place.server() as server:
        changes = server.catalog.subscribe()
        for number in range(3):
            await server.deploy(f"p{number}", wrapper(number))
        with anyio.fail_after(5):
            assert await anext(changes) == server.catalog.snapshot.revision == 3
        with anyio.move_on_after(0.05) as waited:
            await anext(changes)
        assert waited.cancelled_caught


async def test_a_snapshot_is_not_changed_by_what_comes_after(place: Place) -> None:
    async with place.server() as server:
        await server.deploy("one", wrapper())
        before = server.catalog.snapshot
        await server.deploy("two", wrapper())
        await server.catalog.undeploy("one")
        assert list(before.entries) == ["one"]
        assert [tool["name"] for tool in before.tools] == ["one"]


async def test_a_pipeline_that_comes_up_while_another_is_deployed_serves(place: Place) -> None:
    first, second, began = (place.folder.parent / name for name in ("first", "second", "began"))
    place.pipeline("first", slow(1, str(first)))
    async with place.server(wait=False) as server, anyio.create_task_group() as tasks:
        text = f"open({str(began)!r}, 'w').close()\n{slow(2, str(second))}"
        tasks.start_soon(server.deploy, "second", text)
        await until(began.exists)
        first.touch()
        await until(lambda: server.catalog.status("first").status == "running")
        second.touch()
        await until(lambda: len(server.tools) == 2)
        assert (await server.add("first", 1), await server.add("second", 1)) == (2, 3)
        assert server.catalog.status("first").version == "1"
