"""What monitors are told: that the process lives, whether it can serve, what it counts. It must be true."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from clients import START_LIMIT, Served, loaded, serve, until
from prometheus_client.parser import text_string_to_metric_families

from mcp_server.engines.confinement import abilities
from mcp_server.models import Walls

from .conftest import wrapper

pytestmark = pytest.mark.anyio

PROBE = 30.0
"""Seconds a probe may take on a busy machine; checks give up after 1.5."""

BLOCKS = '''
    async def run_api_async(self, seconds: float) -> str:
        """Blocks the event loop of its host."""
        time.sleep(seconds)
        return "slept"
'''
FAILS = '''
    def run_api(self, flag: str) -> str:
        """Fails while there is such a file."""
        if os.path.exists(flag):
            raise RuntimeError("the flag is up")
        return "fine"
'''
LOADS = '''
    def setup(self) -> None:
        until = os.path.join(os.path.dirname(__file__), "until")
        while not os.path.exists(until):
            time.sleep(0.01)

    def run_api(self) -> str:
        """Takes long to load."""
        return "loaded"
'''


def lay_out(folder: Path, bodies: Mapping[str, str]) -> Path:
    for name, body in bodies.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "pipeline_wrapper.py").write_text("import time\n" + wrapper(body))
    return folder


@asynccontextmanager
async def serving(
    tmp_path: Path, bodies: Mapping[str, str], *flags: str, state: Path | None = None
) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    async with (
        serve(lay_out(tmp_path / "pipelines", bodies), *flags, state=state) as served,
        httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=PROBE) as http,
    ):
        yield served, http


async def checks(http: httpx.AsyncClient) -> tuple[int, dict[str, Any]]:
    """The status of `/ready`, and what each failed check says."""
    answer = await http.get("/ready")
    return answer.status_code, {
        each["name"]: each["error"] for each in answer.json()["checks"] if not each["passed"]
    }


async def test_a_server_that_is_well_says_so(served: Served) -> None:
    await loaded(served.url)
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=PROBE) as http:
        live, ready, health, status, built = [
            await http.get(path) for path in ("/live", "/ready", "/health", "/health/status", "/version")
        ]
    assert [each.status_code for each in (live, ready, health, status, built)] == [200] * 5
    assert live.json()["alive"] is True and live.json()["memory_usage_mb"] > 10
    assert ready.json()["ready"] is True and ready.json()["can_serve_traffic"] is True
    names = {each["name"] for each in ready.json()["checks"]}
    assert {"mcp", "hosts", "store", "accepting"} <= names
    assert health.json()["services"]["mcp"] == "healthy"
    assert health.json()["version"] == built.json()["version"]
    assert status.json()["system_info"]["memory_percent"] > 0
    assert set(built.json()) == {"version", "build_date", "git_commit", "api_version"}


async def test_a_pipeline_that_does_not_load_degrades_and_no_more(served: Served) -> None:
    await loaded(served.url)  # the folder has a broken one
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=PROBE) as http:
        ready, health = await http.get("/ready"), await http.get("/health")
    assert ready.status_code == 200 and ready.json()["degraded_mode"] is True
    assert health.json()["status"] == "degraded" and health.json()["services"]["pipelines"] == "degraded"


async def test_it_is_not_ready_before_the_pipelines_have_loaded_once(tmp_path: Path) -> None:
    async with serving(tmp_path, {"slow": LOADS}) as (_, http):
        status, failed = await checks(http)
        assert status == 503 and failed["loaded"] == "the pipelines still load"
        assert (await http.get("/live")).status_code == 200
        (tmp_path / "pipelines" / "slow" / "until").touch()

        async def ready() -> bool:
            return (await checks(http))[0] == 200

        await until(ready, START_LIMIT)


async def test_a_host_that_does_not_answer_is_found_out_and_the_next_one_is_ready(tmp_path: Path) -> None:
    async with serving(tmp_path, {"block": BLOCKS}) as (_, http):
        await loaded(str(http.base_url).rstrip("/"))
        call = asyncio.create_task(
            http.post("/block/run?timeout=6", json={"seconds": 60}, timeout=START_LIMIT)
        )

        async def silent() -> bool:
            status, failed = await checks(http)
            return status == 503 and failed.get("hosts") == "no worker process answers"

        await until(silent, START_LIMIT)
        assert (await http.get("/live")).status_code == 200
        assert "timeout" in (await call).json()["detail"]

        async def ready() -> bool:
            return (await checks(http))[0] == 200

        await until(ready, START_LIMIT)


async def test_a_store_that_does_not_work_degrades_and_says_why(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "state.db").mkdir(parents=True)  # no file can be there
    async with serving(tmp_path, {"fails": FAILS}, state=state) as (_, http):
        await loaded(str(http.base_url).rstrip("/"))
        status, failed = await checks(http)
        assert status == 200 and failed["store"]
        assert str(state) not in failed["store"]
        assert (await http.get("/health")).json()["services"]["store"] == "degraded"


async def test_a_stopping_server_is_not_ready_and_ends_its_calls(tmp_path: Path) -> None:
    async with serving(tmp_path, {"block": BLOCKS}) as (served, http):
        await loaded(served.url)
        assert (await checks(http))[0] == 200  # and its connection stays open
        async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=30) as other:
            call = asyncio.create_task(other.post("/block/run", json={"seconds": 5}))

            async def going() -> bool:
                told = (await http.get("/metrics")).text
                return 'mcp_server_runs_going{status="running"} 1.0' in told

            await until(going, START_LIMIT)
            os.kill(served.pid, signal.SIGTERM)

            async def refusing() -> bool:
                return (await http.get("/ready")).status_code == 503

            await until(refusing, PROBE)
            assert (await call).json() == {"result": "slept"}
        with anyio.fail_after(30):
            assert await served.process.wait() == 0


async def test_what_is_counted_is_what_happened(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    async with serving(tmp_path, {"fails": FAILS}) as (_, http):
        await loaded(str(http.base_url).rstrip("/"))
        for _ in range(3):
            assert (await http.post("/fails/run", json={"flag": str(flag)})).status_code == 200
        flag.touch()
        assert (await http.post("/fails/run", json={"flag": str(flag)})).status_code == 500
        told = await http.get("/metrics")
    assert told.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(told.text)
        for sample in family.samples
    }
    ended = ("pipeline", "fails")
    rest = ("surface", "rest")
    assert samples["mcp_server_runs_total", ended, ("status", "done"), rest] == 3
    assert samples["mcp_server_runs_total", ended, ("status", "failed"), rest] == 1
    assert samples["mcp_server_run_duration_seconds_count", ended] == 4
    assert samples["mcp_server_http_responses_total", ("status", "500")] == 1
    assert samples["mcp_server_pipelines", ("state", "running")] == 1
    assert samples[("process_resident_memory_bytes",)] > 0


async def test_a_pipeline_that_only_fails_rests_and_comes_back_by_itself(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    flags = ("--breaker-failures", "3", "--breaker-pause", "2")
    async with serving(tmp_path, {"fails": FAILS}, *flags) as (_, http):

        async def call() -> httpx.Response:
            return await http.post("/fails/run", json={"flag": str(flag)})

        assert [(await call()).status_code for _ in range(3)] == [500, 500, 500]
        refused = await call()
        assert refused.status_code == 503 and "failed 3 times in a row" in refused.json()["detail"]
        assert "retry-after" in refused.headers
        assert "failed 3 times" in (await http.get("/status/fails")).json()["warnings"][-1]
        assert (await http.get("/health/status")).json()["breakers"]["fails"]["state"] == "open"
        flag.unlink()

        async def works() -> bool:
            return (await call()).status_code == 200

        await until(works, START_LIMIT)
        assert (await http.get("/health/status")).json()["breakers"] == {}


async def test_whether_this_system_has_a_sandbox_is_told(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=PROBE) as http:
        told = (await http.get("/health/status")).json()["sandbox"]
    missing = list(abilities().lacking(Walls(sandbox=True)))
    assert told == {"available": not missing, "missing": missing}


async def test_a_resting_pipeline_is_reset_over_mcp_and_over_http(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flags = ("--breaker-failures", "1", "--breaker-pause", "600")
    async with serving(tmp_path, {"fails": FAILS}, *flags) as (served, http):
        for reset in ("mcp", "http"):
            flag.touch()
            assert (await http.post("/fails/run", json={"flag": str(flag)})).status_code == 500
            flag.unlink()
            assert (await http.post("/fails/run", json={"flag": str(flag)})).status_code == 503
            if reset == "http":
                answer = await http.post("/pipelines/fails/reset", json={})
                assert answer.status_code == 200 and answer.json()["name"] == "fails"
            else:
                async with served.client() as client:
                    done = await client.call_tool("reset_breaker", {"pipeline_name": "fails"})
                    assert not done.is_error
            assert (await http.post("/fails/run", json={"flag": str(flag)})).status_code == 200
        assert (await http.post("/pipelines/nobody/reset", json={})).status_code == 404
