"""Deploy and undeploy: all or nothing, and remembered."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import pytest

from mcp_server.errors import Broken, Conflict, Invalid, NotFound, Unavailable

from .conftest import YAML, Place, until, wrapper

pytestmark = pytest.mark.anyio


async def test_a_deployed_pipeline_is_listed_called_and_there_after_a_restart(place: Place) -> None:
    async with place.server() as server:
        status = await server.deploy("adder", wrapper(5))
        assert (status.status, status.version, status.description) == ("running", "1", "Adds 5.")
        assert server.tools == ["adder"]
        assert await server.add("adder", 1) == 6
    async with place.server() as server:
        assert await server.add("adder", 1) == 6
        assert server.catalog.status("adder").digest == status.digest


async def test_each_source_is_a_version_and_the_same_source_the_same_one(place: Place) -> None:
    async with place.server() as server:
        versions = [
            (await server.deploy("adder", wrapper(adds), overwrite=True)).version for adds in (1, 2, 1, 3)
        ]
    assert versions == ["1", "2", "1", "3"]


async def test_a_taken_name_needs_overwrite(place: Place) -> None:
    place.pipeline("mine")
    async with place.server() as server:
        with pytest.raises(Conflict, match="overwrite=true"):
            await server.deploy("mine", wrapper(2))
        assert await server.add("mine", 1) == 2


@pytest.mark.parametrize(
    "text",
    ["def (", "raise RuntimeError('no')", "x = 1", wrapper(inside="timeout = 'soon'")],
    ids=["syntax", "import", "no class", "option"],
)
async def test_a_failed_deploy_names_the_file_and_leaves_the_old_version_serving(
    place: Place, text: str
) -> None:
    async with place.server() as server:
        before = await server.deploy("adder", wrapper(1))
        revision = server.catalog.snapshot.revision
        with pytest.raises(Broken, match=r"pipeline_wrapper\.py"):
            await server.deploy("adder", text, overwrite=True)
        with pytest.raises(Broken):
            await server.deploy("fresh", text)
        assert await server.add("adder", 1) == 2
        after = server.catalog.status("adder")
        assert (after.version, after.error) == (before.version, None)
        assert server.catalog.snapshot.revision == revision
        assert server.tools == ["adder"]
    async with place.server() as server:
        assert server.tools == ["adder"]


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "x" * 65, "mcp", "get_run", "a\n", "é"])
async def test_a_name_that_does_not_fit_is_refused(place: Place, name: str) -> None:
    async with place.server() as server:
        with pytest.raises(Invalid):
            await server.deploy(name, wrapper())
        assert server.catalog.statuses() == ()


@pytest.mark.parametrize(
    "path",
    [
        "../x.py",
        "/etc/x.py",
        "a/../../x.py",
        "a\\b.py",
        "C:x.py",
        "a//b.py",
        "./a.py",
        ".env",
        "a/.git/x",
        "__pycache__/x.pyc",
        "nul\x00.py",
        "NUL.txt",
        "end.",
        "a" * 201,
        "/".join("abcdefghi"),
        "",
        "\ud800.py",
        "PIPELINE_wrapper.py",
        "pipeline_wrapper.py/x.py",
    ],
)
async def test_a_path_that_is_not_plain_and_inside_is_refused(place: Place, path: str) -> None:
    async with place.server() as server:
        with pytest.raises(Invalid) as refused:
            await server.catalog.deploy("adder", {"pipeline_wrapper.py": wrapper(), path: "x"})
        assert len(str(refused.value)) < 300
        assert not (place.state / "sources").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"pipeline_wrapper.py": "#" * (1024 * 1024 + 1)},
        {"pipeline.yml": "components: {}\n" + "#" * 256 * 1024},
        {"pipeline_wrapper.py": wrapper()} | {f"{number}.txt": "x" for number in range(64)},
        {"pipeline_wrapper.py": wrapper()} | {f"{number}.txt": "x" * 1024 * 1024 for number in range(8)},
        {"notes.txt": "no pipeline"},
        {"pipeline_wrapper.py": "\ud800"},
    ],
    ids=["file", "yaml", "count", "total", "kind", "text"],
)
async def test_too_much_or_no_pipeline_is_refused(place: Place, files: Mapping[str, str]) -> None:
    async with place.server() as server:
        with pytest.raises(Invalid):
            await server.catalog.deploy("adder", files)
        assert server.catalog.statuses() == ()


async def test_a_yaml_and_files_beside_a_wrapper_can_be_deployed(place: Place) -> None:
    text = wrapper(before="from pathlib import Path\nassert (Path(__file__).parent / 'd/x.bin').exists()")
    async with place.server() as server:
        assert (await server.catalog.deploy("hello", {"any.yaml": YAML})).kind == "yaml"
        status = await server.catalog.deploy("adder", {"pipeline_wrapper.py": text, "d/x.bin": b"\xff"})
        assert status.status == "running"


async def test_undeploying_is_remembered_and_never_touches_the_users_files(place: Place) -> None:
    file = place.pipeline("mine")
    async with place.server() as server:
        assert (await server.catalog.undeploy("mine")).status == "undeployed"
        assert (await server.catalog.undeploy("mine")).status == "undeployed"
        assert server.tools == []
        with pytest.raises(NotFound):
            await server.catalog.find("mine")
    assert file.read_text() == wrapper()
    async with place.server() as server:
        assert server.catalog.status("mine").status == "undeployed"
        assert (await server.deploy("mine")).status == "running"
        assert await server.add("mine", 1) == 2
    async with place.server() as server:
        assert server.tools == ["mine"]


async def test_an_upload_goes_before_the_users_pipeline_until_that_is_deployed_again(place: Place) -> None:
    file = place.pipeline("mine", wrapper(1))
    async with place.server() as server:
        await server.deploy("mine", wrapper(10), overwrite=True)
        assert await server.add("mine", 1) == 11
        assert file.read_text() == wrapper(1)
    async with place.server() as server:
        assert await server.add("mine", 1) == 11
        await server.catalog.undeploy("mine")
        await server.deploy("mine")
        assert await server.add("mine", 1) == 2
    async with place.server() as server:
        assert await server.add("mine", 1) == 2


async def test_an_undeployed_upload_comes_back_without_files(place: Place) -> None:
    async with place.server() as server:
        await server.deploy("adder", wrapper(5))
        await server.catalog.undeploy("adder")
        assert server.catalog.status("adder").status == "undeployed"
    async with place.server() as server:
        assert (await server.deploy("adder")).version == "1"
        assert await server.add("adder", 1) == 6


async def test_a_deploy_without_files_says_what_is_missing(place: Place) -> None:
    async with place.server() as server:
        with pytest.raises(Invalid, match="nothing stored"):
            await server.deploy("adder")
        await server.deploy("adder", wrapper())
        with pytest.raises(Invalid, match="`files` is empty"):
            await server.deploy("adder")
        with pytest.raises(NotFound):
            await server.catalog.undeploy("absent")


async def test_an_upload_that_is_not_saved_ends_with_the_server(place: Place) -> None:
    file = place.pipeline("mine", wrapper(1))
    async with place.server() as server:
        status = await server.deploy("adder", wrapper(5), keep=False)
        assert "Not saved" in status.warnings[0]
        await server.deploy("mine", wrapper(7), keep=False, overwrite=True)
        assert (await server.add("adder", 1), await server.add("mine", 1)) == (6, 8)
        async with place.server() as other:
            assert other.tools == ["mine"]
            assert await other.add("mine", 1) == 2
        assert (await server.catalog.undeploy("adder")).status == "undeployed"
        with pytest.raises(NotFound):
            server.catalog.status("adder")
    async with place.server() as server:
        assert server.tools == ["mine"]
        assert await server.add("mine", 1) == 2
    assert file.exists()


async def test_an_unsaved_version_never_shares_its_number_with_a_saved_one(place: Place) -> None:
    async with place.server() as server:
        await server.deploy("adder", wrapper(1))
        assert (await server.deploy("adder", wrapper(2), keep=False, overwrite=True)).version == "2"
        assert (await server.deploy("adder", wrapper(3), overwrite=True)).version == "3"
        assert (await server.deploy("adder", wrapper(2), keep=False, overwrite=True)).version == "4"
        assert (await server.deploy("adder", wrapper(2), overwrite=True)).version == "4"


async def test_a_cancelled_deploy_leaves_nothing(place: Place) -> None:
    marker = place.folder.parent / "loading"
    slow = wrapper(before=f"import pathlib, time\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(0.5)")
    async with place.server() as server:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.deploy, "slow", slow)
            await until(marker.exists)
            tasks.cancel_scope.cancel()
        assert server.catalog.statuses() == ()
        assert (await server.deploy("slow", wrapper())).version == "1"


async def test_deploys_at_once_are_taken_one_by_one(place: Place) -> None:
    async with place.server() as server:
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(server.deploy, f"p{number}", wrapper(number))
        assert server.tools == [f"p{number}" for number in range(5)]


async def test_a_state_folder_that_cannot_be_used_serves_the_folder_and_refuses_to_save(
    place: Place,
) -> None:
    place.pipeline("mine")
    place.write("hello.yml", YAML)
    place.state.write_text("a file where the folder should be")
    async with place.server() as server:
        assert server.tools == ["hello", "mine"]
        assert "not remembered" in server.catalog.status("mine").warnings[0]
        with pytest.raises(Unavailable, match="save_files=false"):
            await server.deploy("adder", wrapper())
        with pytest.raises(Unavailable):
            await server.catalog.undeploy("mine")
        assert (await server.deploy("adder", wrapper(3), keep=False)).status == "running"
        assert await server.add("adder", 1) == 4


async def test_a_disk_that_is_full_refuses_the_deploy_and_keeps_the_old_version(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place.server() as server:
        await server.deploy("adder", wrapper(1))
        sources = place.state / "sources"
        sources.rename(place.state / "moved")
        sources.write_text("no folder")
        with pytest.raises(Unavailable, match="cannot be saved"):
            await server.deploy("adder", wrapper(2), overwrite=True)
        assert await server.add("adder", 1) == 2


async def test_a_deploy_waits_for_all_replicas_and_the_status_counts_them(place: Place) -> None:
    async with place.server(engine="hosts") as server:
        status = await server.deploy("adder", wrapper(5, inside="replicas = 2"))
        assert status.replicas == {"wanted": 2, "serving": 2}
        assert await server.add("adder", 1) == 6
        other = await server.deploy("single", wrapper(1))
        assert other.replicas is None
