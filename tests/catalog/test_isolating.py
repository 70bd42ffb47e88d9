"""How far deployed pipelines are walled off, by where they come from and what they ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mcp_server.engines.confinement import abilities
from mcp_server.errors import Broken
from mcp_server.models import Run, Walls

from .conftest import Place, wrapper

pytestmark = pytest.mark.anyio

AFAR = {"engine": "hosts", "host": "0.0.0.0"}
NEAR = {"engine": "hosts"}
SANDBOXES = not abilities().lacking(Walls(sandbox=True))
LACKING = "NOT TESTED: this system has no sandbox"


def runs(code: str, inside: str = "") -> str:
    """A wrapper whose call is this code, an expression."""
    return (
        "import os, pathlib, socket\nfrom mcp_server import PipelineWrapper as Base\n"
        f"class PipelineWrapper(Base):\n    {inside}\n"
        f"    def run_api(self, number: int) -> str:\n        return str(({code}))\n"
    )


def said(run: Run) -> str:
    """What the run answered."""
    assert run.result is not None
    return run.result.content.decode()


async def test_what_comes_over_a_network_is_sandboxed_and_stays_so(place: Place) -> None:
    if not SANDBOXES:
        pytest.skip(LACKING)
    place.pipeline("mine")
    place.pipeline("walled", wrapper(inside='isolation = "sandbox"'))
    async with place.server(**AFAR) as server:
        status = await server.deploy("theirs", runs("pathlib.Path('/etc/shadow').read_text()"))
        assert status.isolation == "sandbox"
        assert "--allow-read" in said(await server.run("theirs", 1))
        assert server.catalog.status("mine").isolation == "process"
        assert server.catalog.status("walled").isolation == "sandbox"
    async with place.server(**NEAR) as server:
        assert server.catalog.status("theirs").isolation == "sandbox"


async def test_an_upload_from_this_machine_reaches_its_model_and_writes_at_home_only(place: Place) -> None:
    elsewhere = Path.home() / f".written-{os.getpid()}"
    text = runs(
        f"pathlib.Path('/etc/hostname').exists() and pathlib.Path({str(elsewhere)!r}).write_text('x')"
    )
    async with place.server(**NEAR) as server:
        status = await server.deploy("shout", text)
        assert status.isolation == "process"
        if not abilities().landlock:
            assert any("Landlock" in warning for warning in status.warnings)
            return
        assert "--allow-write" in said(await server.run("shout", 1))
        assert not elsewhere.exists()


async def test_the_same_files_from_this_machine_are_trusted(place: Place) -> None:
    async with place.server(**AFAR, isolation="process") as server:
        assert (await server.deploy("adder", wrapper())).isolation == "process"
    async with place.server(**NEAR) as server:
        await server.catalog.deploy("adder", {"pipeline_wrapper.py": wrapper()}, overwrite=True)
    async with place.server(**AFAR) as server:
        assert server.catalog.status("adder").isolation == "process"


@pytest.mark.parametrize(
    ("asks", "flags", "words"),
    [
        ('env = ["KEY"]', {}, "variable KEY.*--allow-env KEY"),
        ('env = ["KEY"]', {"allow_env": ("OTHER",), "env": ("KEY",)}, "--allow-env KEY"),
        ("allow_net = [443]", {}, "port 443.*--allow-net 443"),
        ('allow_net = ["*"]', {"allow_net": ("443",)}, "any network.*--allow-net"),
    ],
)
async def test_an_upload_that_asks_for_more_is_refused(
    place: Place, asks: str, flags: dict[str, object], words: str
) -> None:
    async with place.server(**AFAR, **flags) as server:
        with pytest.raises(Broken, match=words):
            await server.deploy("theirs", wrapper(inside=asks))
        assert server.tools == []


async def test_an_upload_gets_what_it_lists_and_the_flags_allow(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not SANDBOXES:
        pytest.skip(LACKING)
    monkeypatch.setenv("KEY", "key-value")
    monkeypatch.setenv("OTHER", "other-value")
    flags = {"allow_env": ("KEY", "OTHER"), "env": ("OTHER",)}
    async with place.server(**AFAR, **flags) as server:
        await server.deploy("theirs", runs("dict(os.environ)", 'env = ["KEY"]'))
        seen = said(await server.run("theirs", 1))
    assert "key-value" in seen and "other-value" not in seen


async def test_a_pipeline_of_the_folder_gets_what_it_lists(place: Place) -> None:
    if not SANDBOXES:
        pytest.skip(LACKING)
    place.pipeline("mine", runs("open(os.__file__).read(3), os.getcwd()", 'isolation = "sandbox"'))
    place.pipeline("other")
    spy = runs(f"os.listdir({str(place.folder / 'other')!r})", 'isolation = "sandbox"')
    place.pipeline("spy", spy)
    async with place.server(**NEAR) as server:
        assert (await server.run("mine", 1)).status == "done"
        assert "--allow-read" in said(await server.run("spy", 1))
