"""What calls cost the server: as much with many pipelines as with few, and little when they fail."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from clients import Served, serve

from .conftest import wrapper
from .test_bad_input import ask, modern
from .test_http import HEADERS

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells the CPU time of a process"),
]

CALLS = 200
LINE = 2048
"""Bytes a line of the log may have."""

FAILS = '''
    def run_api(self, depth: int) -> str:
        """Fails far down, with a long text."""
        if depth:
            return self.run_api(depth - 1)
        raise ValueError("no such thing " * 1000)
'''
WORKS = '''
    def run_api(self, depth: int) -> str:
        """Works as far down."""
        return self.run_api(depth - 1) if depth else "fine"
'''


def lay_out(folder: Path, bodies: dict[str, str]) -> Path:
    for name, body in bodies.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "pipeline_wrapper.py").write_text(wrapper(body))
    return folder


def connected(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=60, headers=HEADERS)


async def spent(pids: Callable[[], list[int]], work: Callable[[], Awaitable[object]]) -> float:
    """The seconds of CPU that these processes spend while the work is done `CALLS` times."""
    await work()
    before = sum(map(seconds, pids()))
    for _ in range(CALLS):
        await work()
    return sum(map(seconds, pids())) - before


def seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """The process and all below it."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return modern("tools/call", {"name": name, "arguments": arguments})


async def cost_of_a_call(folder: Path, bodies: dict[str, str]) -> float:
    async with serve(lay_out(folder, bodies), "--tool-mode", "direct") as served, connected(served) as http:
        listed = (await ask(http, modern("tools/list"))).json()["result"]["tools"]
        assert sum(tool["name"] in bodies for tool in listed) == len(bodies)

        async def work() -> None:
            answer = await ask(http, call("works", {"depth": 1}))
            assert answer.json()["result"]["structuredContent"] == {"result": "fine"}

        return await spent(lambda: [served.pid], work)


async def test_a_modern_call_costs_as_much_among_many_pipelines_as_among_few(tmp_path: Path) -> None:
    few = await cost_of_a_call(tmp_path / "few", {"works": WORKS})
    many = await cost_of_a_call(tmp_path / "many", {"works": WORKS} | {f"more{n}": WORKS for n in range(150)})
    assert many < 2 * few + 0.1, (few, many)


async def test_failing_calls_cost_little_more_than_good_ones_and_log_short_lines(tmp_path: Path) -> None:
    bodies = {"works": WORKS, "fails": FAILS}
    async with (
        serve(lay_out(tmp_path, bodies), "--log-level", "info", "--breaker-failures", "0") as served,
        connected(served) as http,
    ):

        async def call_of(name: str, arguments: dict[str, Any], failed: bool) -> None:
            result = (await ask(http, call(name, arguments))).json()["result"]
            assert result.get("isError", False) is failed, result

        pids = lambda: family(served.pid)  # noqa: E731 - one word for four places
        good = await spent(pids, lambda: call_of("works", {"depth": 100}, False))
        failing = await spent(pids, lambda: call_of("fails", {"depth": 100}, True))
        invalid = await spent(pids, lambda: call_of("works", {"deep": 100}, True))
        log = served.log.read_bytes()
    assert failing < 3 * good + 0.5, (good, failing)
    assert invalid < 3 * good + 0.5, (good, invalid)
    assert max(map(len, log.splitlines()), default=0) < LINE
    assert log.count(b"no such thing") >= CALLS and b"pipeline_wrapper.py" in log
