"""What a server that is killed leaves behind."""

from __future__ import annotations

import sys

import anyio
import pytest

from .conftest import Place

pytestmark = pytest.mark.anyio

DEPLOYING = """
import sys
from pathlib import Path
import anyio
from mcp_server.catalog import Catalog
from mcp_server.engines.routing import RoutingEngine
from mcp_server.settings import Settings

TEXT = '''
from mcp_server import PipelineWrapper as Base
class PipelineWrapper(Base):
    def run_api(self) -> int:
        return NUMBER
'''

async def main():
    settings = Settings(state=Path(sys.argv[1]), engine="local")
    async with RoutingEngine(settings) as engine, Catalog(settings, engine) as catalog:
        for number in range(1000):
            text = TEXT.replace("NUMBER", str(number))
            status = await catalog.deploy(f"p{number}", {"pipeline_wrapper.py": text})
            print(status.name, status.digest, flush=True)

anyio.run(main)
"""
"""Deploys one pipeline after the other and prints each that was acknowledged."""


async def test_a_killed_server_leaves_exactly_what_it_acknowledged(place: Place) -> None:
    command = [sys.executable, "-c", DEPLOYING, str(place.state)]
    text = ""
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout is not None
        with anyio.fail_after(60):
            while text.count("\n") < 5:
                text += (await process.stdout.receive()).decode()
        process.kill()
        async for rest in process.stdout:
            text += rest.decode()
    acknowledged = dict(line.split() for line in text.splitlines(keepends=True) if line.endswith("\n"))
    async with place.server() as server:
        served = {each.name: each.digest for each in server.catalog.statuses() if each.status == "running"}
    assert acknowledged.items() <= served.items()
    assert len(served) <= len(acknowledged) + 1, "at most the one that was being acknowledged"


STAGING = """
import os, signal, sys
from pathlib import Path
import anyio
from mcp_server.catalog import Catalog
from mcp_server.engines.routing import RoutingEngine
from mcp_server.settings import Settings
from mcp_server.store import Store

TEXT = '''
import os, pathlib
from mcp_server import PipelineWrapper as Base
if NUMBER == 1 and pathlib.Path("FUSE").exists():
    os.kill(os.getpid(), 9)
class PipelineWrapper(Base):
    def run_api(self, number: int) -> int:
        return number + NUMBER
'''
state, point = Path(sys.argv[1]), sys.argv[2]
fuse = state.parent / "fuse"
place = Store.place

def die():
    os.kill(os.getpid(), signal.SIGKILL)

async def before(self, placing):
    die()

async def after(self, placing):
    await place(self, placing)
    die()

async def main():
    settings = Settings(state=state, engine="local")
    async with RoutingEngine(settings) as engine, Catalog(settings, engine) as catalog:
        for number in (1, 2):
            text = TEXT.replace("NUMBER", str(number)).replace("FUSE", str(fuse))
            await catalog.deploy("adder", {"pipeline_wrapper.py": text}, overwrite=True)
        await catalog.set_stage("adder", 1, "staging", share=0.5)
        if point == "loading":
            fuse.touch()
        elif point != "acknowledged":
            Store.place = {"before writing": before, "after writing": after}[point]
        await catalog.set_stage("adder", 1, "production", archive_existing=True)
        die()

anyio.run(main)
"""
"""Rolls back from version 2 to version 1, which is in staging, and dies at some point of it."""


@pytest.mark.parametrize(
    ("point", "done"),
    [("loading", False), ("before writing", False), ("after writing", True), ("acknowledged", True)],
)
async def test_a_roll_back_that_is_killed_is_done_or_not_and_never_torn(
    place: Place, point: str, done: bool
) -> None:
    with anyio.fail_after(60):
        ended = await anyio.run_process(
            [sys.executable, "-c", STAGING, str(place.state), point], check=False, stderr=None
        )
    assert ended.returncode == -9
    (place.folder.parent / "fuse").unlink(missing_ok=True)
    async with place.server() as server:
        stages = {each.number: each.stage for each in await server.catalog.versions("adder")}
        assert stages == ({1: "production", 2: "archived"} if done else {1: "staging", 2: "production"})
        assert server.catalog.status("adder").share == (None if done else 0.5)
        assert await server.add("adder", 10, stage="production") == (11 if done else 12)
