"""Cancelling: whatever a pipeline does, over every transport, its work stops and nothing is left of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served, Transport, parameters, serve, until
from mcp import Client

from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.mcp import ProtocolServer

pytestmark = pytest.mark.anyio

HEAD = '''
import asyncio
import os
import time
from mcp_server import Context, PipelineWrapper as Base


class Work:
    """Leaves one byte in a file when it begins, one in another when it is over."""

    def __init__(self, trace):
        self.trace = trace

    def __enter__(self):
        self.leave("began")

    def __exit__(self, *error):
        self.leave("over")

    def leave(self, name):
        with open(os.path.join(self.trace, name), "ab", buffering=0) as file:
            file.write(b".")


class PipelineWrapper(Base):
'''
BODIES = {
    "awaits": '''
    async def run_api_async(self, trace: str) -> str:
        """Waits on the event loop."""
        with Work(trace):
            await asyncio.sleep(600)
''',
    "loops": '''
    def run_api(self, trace: str) -> str:
        """Works in a thread."""
        with Work(trace):
            for _ in range(600_000):
                time.sleep(0.001)
''',
    "reports": '''
    def run_api(self, trace: str, context: Context) -> str:
        """Works in a thread and says how far it is."""
        with Work(trace):
            for step in range(600_000):
                context.progress(step)
                time.sleep(0.001)
''',
    "streams": '''
    async def run_api_async(self, trace: str):
        """Streams from the event loop."""
        with Work(trace):
            while True:
                yield "word "
                await asyncio.sleep(0.001)
''',
    "yields": '''
    def run_api(self, trace: str):
        """Streams from a thread."""
        with Work(trace):
            while True:
                yield "word "
                time.sleep(0.001)
''',
    "asks": '''
    async def run_api_async(self, trace: str, context: Context) -> str:
        """Asks on the event loop."""
        with Work(trace):
            return (await context.ask("Sure?", {"type": "object", "properties": {}})).action
''',
    "begs": '''
    def run_api(self, trace: str, context: Context) -> str:
        """Asks in a thread."""
        with Work(trace):
            return context.ask("Sure?", {"type": "object", "properties": {}}).action
''',
    "components": '''
    def setup(self):
        from haystack import Pipeline, component

        @component
        class Nap:
            @component.output_types(count=int)
            def run(self, count: int):
                time.sleep(0.005)
                return {"count": count + 1}

        self.pipeline = Pipeline()
        for number in range(200):
            self.pipeline.add_component(f"nap{number}", Nap())
        for number in range(199):
            self.pipeline.connect(f"nap{number}.count", f"nap{number + 1}.count")

    def run_api(self, trace: str) -> int:
        """Runs a second of components in a thread."""
        with Work(trace):
            return self.pipeline.run({"nap0": {"count": 0}})["nap199"]["count"]
''',
    "quick": '''
    def run_api(self, trace: str) -> str:
        """Is done at once."""
        with Work(trace):
            return "done"
''',
}
STUCK = '''
    group = "stuck"

    def run_api(self, trace: str) -> str:
        """Hangs where nothing can reach it, after it told in which process."""
        with open(trace, "x") as file:
            file.write(str(os.getpid()))
        time.sleep(600)
'''
WAYS: list[tuple[Transport, Mode]] = [
    ("http", "legacy"),
    ("http", "auto"),
    ("sse", "legacy"),
    ("sse", "auto"),
    ("stdio", "legacy"),
    ("stdio", "auto"),
]
MODES: list[Mode] = ["legacy", "auto"]
POOL = 16
SOON = ("--answer-timeout", "1", "--threads", str(POOL))
CANCELS = 2000
AT_ONCE = 12
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    for name, body in {**BODIES, "stuck": STUCK}.items():
        (made / name).mkdir()
        (made / name / "pipeline_wrapper.py").write_text(HEAD + body)
    return made


@pytest.fixture
async def served(folder: Path) -> AsyncIterator[Served]:
    """Runs whose question nobody answers are given up soon."""
    async with serve(folder, *SOON) as running:
        yield running


def client_of(served: Served, transport: Transport, mode: Mode) -> Client:
    """A client with a person who never answers."""
    if transport == "stdio":
        target = parameters(served.folder, served.state, *SOON)
        return Client(target, mode=mode, elicitation_callback=silence)
    return served.client(transport, mode, elicitation_callback=silence)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    (tmp_path / "began").touch()
    (tmp_path / "over").touch()
    return tmp_path


def count(trace: Path, name: str) -> int:
    return (trace / name).stat().st_size


async def silence(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """A person who never answers."""
    await anyio.sleep_forever()
    raise AssertionError


async def call(client: Client, name: str, trace: Path) -> None:
    await client.call_tool(name, {"trace": str(trace)}, progress_callback=ignore)


async def ignore(*report: object) -> None:
    """Hears progress, so that it is sent."""


async def storm(clients: list[Client], trace: Path, cancels: int) -> None:
    """Call and cancel at random moments, several at once."""
    dice = random.Random(cancels)
    moments = [
        (dice.choice(clients), dice.choice(list(BODIES)), dice.uniform(0, 0.05)) for _ in range(cancels)
    ]

    async def work() -> None:
        while moments:
            client, name, delay = moments.pop()
            with anyio.move_on_after(delay):
                await call(client, name, trace)

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(work)


async def all_over(trace: Path, limit: float = 20) -> None:
    """Wait until whatever began is over."""

    async def even() -> bool:
        return count(trace, "began") == count(trace, "over")

    await until(even, limit)


class Use(NamedTuple):
    """What a server and its hosts take of the system."""

    processes: list[int]
    threads: int
    files: int
    memory: int
    """Bytes in memory that belong to nobody else."""

    @classmethod
    def of(cls, pid: int) -> Use:
        pids = [pid, *descendants(pid)]
        threads, files = (
            sum(len([*Path(f"/proc/{pid}/{what}").iterdir()]) for pid in pids) for what in ("task", "fd")
        )
        return cls(pids, threads, files, sum(map(private, pids)))


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def private(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


async def test_two_thousand_random_cancels_leave_nothing_behind(served: Served, trace: Path) -> None:
    with anyio.fail_after(100):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(served, *way)) for way in WAYS]
            await storm(clients, trace, CANCELS // 4)
            await all_over(trace)
            before = Use.of(served.pid)
            with anyio.fail_after(60):
                await storm(clients, trace, CANCELS)
            await all_over(trace)
            assert count(trace, "began") > CANCELS // 2, "most had begun when they were cancelled"
            for client in clients:
                with anyio.fail_after(10):
                    await call(client, "quick", trace)
            after = Use.of(served.pid)
    assert after.processes == before.processes, "no host had to be replaced"
    assert after.threads <= before.threads + POOL, "the pool of the host fills as calls overlap, and no other"
    assert after.files <= before.files + 10
    assert after.memory <= before.memory + 8 * MEGABYTE


@pytest.mark.parametrize("engine", ["local", "hosts"])
async def test_the_tasks_and_runs_of_a_server_return(folder: Path, trace: Path, engine: Any) -> None:
    settings = Settings(folder=folder, state=trace / "state", engine=engine, answer_timeout=0.5)
    with anyio.fail_after(90):
        async with Server(settings) as server, AsyncExitStack() as stack:
            protocol = ProtocolServer(server)
            await stack.enter_async_context(protocol.announcing())
            clients = [Client(protocol, mode=mode, elicitation_callback=silence) for mode in MODES]
            for client in clients:
                await call(await stack.enter_async_context(client), "quick", trace)
            await all_over(trace)
            tasks = len(asyncio.all_tasks())
            await storm(clients, trace, CANCELS // 10)
            await all_over(trace)

            async def returned() -> bool:
                return len(asyncio.all_tasks()) <= tasks and not server.runs._going

            await until(returned)


async def test_work_that_cannot_be_reached_is_stopped_with_its_host(served: Served, trace: Path) -> None:
    notes = [anyio.Path(trace / f"stuck{number}") for number in range(len(WAYS))]

    async def began() -> bool:
        return all([await note.exists() and await note.read_text() for note in notes])

    async def gone() -> bool:
        return not any([await anyio.Path("/proc", await note.read_text()).exists() for note in notes])

    with anyio.fail_after(60):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client_of(served, *way)) for way in WAYS]
            async with anyio.create_task_group() as tasks:
                for client, note in zip(clients, notes, strict=True):
                    tasks.start_soon(call, client, "stuck", Path(note))
                await until(began, 30)
                tasks.cancel_scope.cancel()
            await until(gone, 20)
            for client in clients:
                await call(client, "quick", trace)
