"""Deploying and undeploying leaves nothing behind: no memory, tasks, descriptors, threads, modules, files."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from mcp_server.catalog import Catalog
from mcp_server.engines.confinement import abilities
from mcp_server.engines.routing import RoutingEngine
from mcp_server.models import Walls
from mcp_server.settings import Settings

pytestmark = pytest.mark.anyio

TEXT = "class PipelineWrapper:\n    def run_api(self, number: int) -> int:\n        return number + {}\n"
SPARE = 20 << 20
"""Bytes that the process may grow by."""


@dataclass(frozen=True)
class Use:
    """What the process holds now."""

    memory: int
    tasks: int
    descriptors: int
    threads: int
    modules: int
    children: int
    places: int
    """Folders for temporary files of hosts."""


def use() -> Use:
    gc.collect()
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    hosts = sum(len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) for pid in children)
    memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return Use(
        memory=memory,
        tasks=len(asyncio.all_tasks()),
        descriptors=len([*Path("/proc/self/fd").iterdir()]),
        threads=threading.active_count(),
        modules=len(sys.modules),
        children=hosts,
        places=len([*Path(tempfile.gettempdir()).glob("mcp-server-host-*")]),
    )


async def test_cycles_of_deploying_leave_nothing_behind(
    tmp_path: Path, long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform != "linux":
        pytest.skip("NOT TESTED: what a process holds is read from /proc")
    cycles = 500 if long else 30
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    level = None if not abilities().lacking(Walls(sandbox=True)) else "process"
    given = Settings(state=tmp_path / "state", engine="hosts", host="0.0.0.0", isolation=level)
    async with RoutingEngine(given) as engine, Catalog(given, engine) as catalog:
        await catalog.ready()

        async def cycle(number: int) -> None:
            files = {"pipeline_wrapper.py": TEXT.format(number)}
            status = await catalog.deploy("adder", files, overwrite=True, keep=False)
            assert status.status == "running" and status.isolation == (level or "sandbox")
            await catalog.undeploy("adder")

        for number in range(5):
            await cycle(number)
        before = await rested(None)
        for number in range(cycles):
            await cycle(number + 5)
        after = await rested(before)
    assert after.memory - before.memory <= SPARE
    grown = (after.memory - before.memory) / 1e6
    print(f"{cycles} cycles: {grown:+.1f} MB, {after}")


async def rested(same: Use | None) -> Use:
    """What is held once nothing changes any more, and is the same as then but for the memory."""
    with anyio.fail_after(60):
        while True:
            first = use()
            await anyio.sleep(1.5)  # what was displaced lingers for a second
            found = use()
            if _countable(first) == _countable(found) == _countable(same or found) and found.children == 0:
                return found


def _countable(held: Use) -> tuple[int, ...]:
    return held.tasks, held.descriptors, held.threads, held.modules, held.children, held.places
