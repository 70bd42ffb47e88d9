"""What only hosts promise: whatever a pipeline does to its process, the front and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from mcp_server.models import Manifest, Problem

from .conftest import Bench, until
from .test_contract import reason, value

pytestmark = pytest.mark.anyio

OK = "async def run_api(self) -> int:\n    return os.getpid()"
CRASH = """
    async def run_api(self, how: str) -> str:
        await asyncio.sleep(0.2)
        if how == "exit":
            os._exit(7)
        import ctypes
        ctypes.string_at(0)
"""
STUCK = """
    def run_api(self, begun: str = "") -> str:
        if begun:
            open(begun, "w").close()
        time.sleep(120)
"""


def alive(pid: int) -> bool:
    """True while the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_the_pipelines_of_a_group_share_a_process_and_groups_do_not(hosts: Bench) -> None:
    await hosts.serve(hosts.member("a", OK), hosts.member("b", OK))
    await hosts.serve(hosts.member("c", OK), group="other")
    a, b, c = [value(await hosts.call(name)) for name in "abc"]
    assert a == b != c
    assert os.getpid() not in (a, c)


@pytest.mark.parametrize(("how", "words"), [("exit", "exit code 7"), ("segfault", "SIGSEGV")])
async def test_a_pipeline_that_ends_its_process_fails_alone_and_is_loaded_again(
    hosts: Bench, how: str, words: str
) -> None:
    await hosts.serve(hosts.member("crash", CRASH), hosts.member("ok", OK))
    await hosts.serve(hosts.member("other", OK), group="other")
    other = value(await hosts.call("other"))
    assert words in reason(await hosts.call("crash", how=how))
    assert isinstance(value(await hosts.call("ok")), int)
    assert value(await hosts.call("other")) == other


async def test_calls_that_shared_a_dead_process_are_told_so(hosts: Bench) -> None:
    waiter = "async def run_api(self) -> str:\n    await asyncio.sleep(30)"
    await hosts.serve(hosts.member("crash", CRASH), hosts.member("waiter", waiter))
    texts: list[str] = []

    async def call(name: str, **inputs: object) -> None:
        texts.append(reason(await hosts.call(name, None, 30, **inputs)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call, "waiter")
        await hosts.call("crash", how="exit")
    assert "shared" in texts[0]


async def test_a_lost_call_of_a_read_only_idempotent_pipeline_is_run_once_more(
    hosts: Bench, tmp_path: Path
) -> None:
    body = """
        annotations = {"readOnlyHint": True, "idempotentHint": True}
        def run_api(self, first: str) -> str:
            if not os.path.exists(first):
                open(first, "w").close()
                os._exit(1)
            return "second"
    """
    member = hosts.member("safe", body, annotations={"readOnlyHint": True, "idempotentHint": True})
    await hosts.serve(member)
    assert value(await hosts.call("safe", first=str(tmp_path / "first"))) == "second"


async def test_a_thread_that_will_not_stop_costs_its_host_and_nobody_else(
    hosts: Bench, tmp_path: Path
) -> None:
    neighbour = """
        async def run_api(self, wait: float = 0) -> int:
            await asyncio.sleep(wait)
            return os.getpid()
    """
    await hosts.serve(hosts.member("stuck", STUCK), hosts.member("ok", neighbour))
    first = value(await hosts.call("ok"))
    kept: list[object] = []

    async def long_call() -> None:
        kept.append(value(await hosts.call("ok", wait=4)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(long_call)
        before = time.monotonic()
        assert "timeout" in reason(await hosts.call("stuck", timeout=0.5))
        assert time.monotonic() - before < 1.5
        with anyio.fail_after(15):
            while (second := value(await hosts.call("ok"))) == first:
                await anyio.sleep(0.05)
    assert kept == [first]
    assert isinstance(first, int) and second != first
    await until(lambda: not alive(first))


async def test_a_blocked_event_loop_is_answered_and_replaced(hosts: Bench) -> None:
    await hosts.serve(hosts.member("block", "async def run_api(self) -> str:\n    time.sleep(120)"))
    before = time.monotonic()
    assert "timeout" in reason(await hosts.call("block", timeout=0.5))
    assert time.monotonic() - before < 1.5


async def test_three_deaths_in_a_minute_give_up_only_the_pipeline_that_causes_them(hosts: Bench) -> None:
    await hosts.serve(hosts.member("crash", CRASH), hosts.member("ok", OK))
    for _ in range(3):
        reason(await hosts.call("crash", how="exit"))
    assert "3 times within a minute" in reason(await hosts.call("crash", how="exit"))
    assert isinstance(value(await hosts.call("ok")), int)
    problems = [name for name, outcome in hosts.reports if isinstance(outcome, Problem)]
    assert problems == ["crash"]


async def test_a_pipeline_that_dies_while_loading_is_given_up_and_the_others_load(hosts: Bench) -> None:
    dying = hosts.member("dying", "def setup(self):\n    os._exit(9)\ndef run_api(self) -> str: ...")
    outcomes = await hosts.serve(hosts.member("a", OK), dying, hosts.member("z", OK))
    await until(lambda: any(isinstance(outcome, Problem) for _, outcome in hosts.reports))
    assert isinstance(value(await hosts.call("a")), int)
    assert isinstance(value(await hosts.call("z")), int)
    text = reason(await hosts.call("dying"))
    assert "exit code 9" in text
    assert isinstance(outcomes["a"], Manifest)


async def test_a_host_sees_only_basic_and_named_variables(
    hosts: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "s3cret")
    monkeypatch.setenv("NAMED_KEY", "given")
    body = """
        def run_api(self) -> str:
            with open("/proc/self/environ") as file:
                return file.read() + str(dict(os.environ))
    """
    await hosts.serve(hosts.member("env", body))
    await hosts.serve(hosts.member("named", body), group="named", env=("NAMED_KEY",))
    plain, named = str(value(await hosts.call("env"))), str(value(await hosts.call("named")))
    assert "PATH" in plain and "SECRET_KEY" not in plain and "NAMED_KEY" not in plain
    assert "given" in named and "SECRET_KEY" not in named


async def test_nothing_a_pipeline_prints_reaches_stdout(tmp_path: Path) -> None:
    script = """
import anyio, sys, pathlib
sys.path.insert(0, sys.argv[2])
from tests.engines.conftest import open_bench
async def main():
    async with open_bench("forked", pathlib.Path(sys.argv[1])) as bench:
        body = "def run_api(self):\\n    print('loud'); os.system('echo louder'); os.write(1, b'loudest')"
        await bench.serve(bench.member("loud", body))
        await bench.call("loud")
anyio.run(main)
"""
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parents[2])]
    done = await anyio.run_process(command, stdin=subprocess.DEVNULL)
    assert done.stdout == b""
    assert b"loud" in done.stderr and b"loudest" in done.stderr


async def test_nothing_outlives_a_killed_front(tmp_path: Path) -> None:
    script = '''
import anyio, sys, pathlib, os
sys.path.insert(0, sys.argv[2])
from tests.engines.conftest import open_bench
async def main():
    async with open_bench("forked", pathlib.Path(sys.argv[1])) as bench:
        body = """
            def run_api(self, forever: bool = False) -> list[int]:
                import subprocess
                child = subprocess.Popen(["sleep", "300"])
                while forever:
                    time.sleep(100)
                return [os.getpid(), os.getppid(), child.pid]
        """
        await bench.serve(bench.member("p", body))
        result = await bench.call("p")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: bench.call("p", forever=True))
            await anyio.sleep(0.5)
            print(result.structured.decode(), flush=True)
            await anyio.sleep(300)
anyio.run(main)
'''
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parents[2])]
    async with await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=None) as front:
        assert front.stdout is not None
        with anyio.fail_after(30):
            import json

            pids = json.loads(await front.stdout.receive())["result"]
        assert all(alive(pid) for pid in pids)
        front.kill()
        await until(lambda: not any(alive(pid) for pid in pids), within=10)


@pytest.mark.parametrize("kind", ["forked", "spawned"])
async def test_what_a_pipeline_started_ends_with_its_host(bench: Bench) -> None:
    body = """
        def run_api(self, ends: bool) -> int:
            started = os.fork() or time.sleep(600)
            if ends:
                os._exit(0)
            return started
    """
    await bench.serve(bench.member("forks", body))
    started = value(await bench.call("forks", ends=False))
    assert alive(started)
    await bench.call("forks", ends=True)
    await until(lambda: not alive(started))
    left = value(await bench.call("forks", ends=False))
    await bench.serve(bench.member("forks", OK))
    await until(lambda: not alive(left))


async def test_a_fast_talker_does_not_fill_the_memory_of_a_slow_listener(hosts: Bench) -> None:
    body = """
        def run_api(self, context: Context, count: int) -> int:
            for number in range(count):
                context.chunk("x" * 10)
            return count
    """
    await hosts.serve(hosts.member("talker", body))
    events = 0
    length = 0

    async def slow(event: object) -> None:
        nonlocal events, length
        events += 1
        length += len(event.text)  # type: ignore[attr-defined]
        await anyio.sleep(0.001)

    assert value(await hosts.call("talker", slow, count=20_000)) == 20_000
    assert length == 200_000
    assert events < 20_000
