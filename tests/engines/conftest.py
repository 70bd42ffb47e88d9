"""Engines to test, and pipelines written on the spot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from textwrap import dedent, indent

import anyio
import pytest

from mcp_server.engines import Outcome
from mcp_server.engines.hosts import HostsWorkshop
from mcp_server.engines.hosts.launcher import SpawnLauncher, environment
from mcp_server.engines.routing import RoutingEngine
from mcp_server.models import Emit, Event, Group, Json, Member, Options, Result, Run, Walls
from mcp_server.runs import new_id
from mcp_server.settings import Settings


class Bench:
    """An engine, and a short way to put pipelines on it and call them."""

    def __init__(self, engine: RoutingEngine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.reports: list[tuple[str, Outcome]] = []
        self.digests: dict[str, str] = {}
        """Of the member that was served last, by name."""

    def member(self, name: str, body: str, **options: object) -> Member:
        """A wrapper whose class body is `body`."""
        root = self.folder / f"{name}-{len(list(self.folder.iterdir()))}"
        root.mkdir()
        code = "import asyncio, os, sys, time\nfrom mcp_server import Context, PipelineWrapper as Base\n\n"
        code += "class PipelineWrapper(Base):\n" + indent(dedent(body), "    ")
        (root / "pipeline_wrapper.py").write_text(code)
        return Member(name=name, digest=root.name, root=root, options=Options.model_validate(options))

    async def serve(
        self,
        *members: Member,
        group: str = "main",
        env: tuple[str, ...] = (),
        walls: Walls | None = None,
    ) -> dict[str, Outcome]:
        """Load the members as a new generation of the group, adopt it, and give the outcomes."""
        self.digests |= {member.name: member.digest for member in members}
        generation = self.engine.open(Group(name=group, members=members, env=env, walls=walls))
        self.engine.adopt(generation, lambda name, outcome: self.reports.append((name, outcome)))
        return dict(await generation.settled())

    async def call(
        self, name: str, emit: Emit | None = None, timeout: float = 30, **inputs: object
    ) -> Result:
        """Run once."""
        return await self.engine.run(self.run(name, inputs, timeout), emit or nothing)

    def run(self, name: str, inputs: Json, timeout: float = 30) -> Run:
        digest = self.digests.get(name, "-")
        return Run(id=new_id(), pipeline=name, version=1, digest=digest, inputs=inputs, timeout=timeout)


async def nothing(event: Event) -> None:
    await anyio.lowlevel.checkpoint()


class SpawningWorkshop(HostsWorkshop):
    """Hosts as macOS and Windows start them."""

    def _launcher(self, names: tuple[str, ...], sandboxed: bool) -> SpawnLauncher:
        variables = environment(names, self._settings.variable)
        launcher = self._launchers.setdefault((names, sandboxed), SpawnLauncher(variables, self._limits))
        assert isinstance(launcher, SpawnLauncher)
        return launcher


@pytest.fixture(params=["local", "forked", "spawned"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def bench(kind: str, tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench(kind, tmp_path) as bench:
        yield bench


@pytest.fixture
async def hosts(tmp_path: Path) -> AsyncIterator[Bench]:
    async with open_bench("forked", tmp_path) as bench:
        yield bench


class open_bench:
    """Opens an engine of that kind; closes it and checks that it let go within its bound."""

    def __init__(self, kind: str, folder: Path) -> None:
        settings = Settings(
            engine="local" if kind == "local" else "hosts",
            drain_timeout=5,
            load_timeout=20,
            result_limit=100_000,
        )
        self.engine = RoutingEngine(settings)
        if kind == "spawned":
            self.engine._workshops["hosts"] = SpawningWorkshop(settings)
        self.bench = Bench(self.engine, folder)

    async def __aenter__(self) -> Bench:
        await self.engine.__aenter__()
        return self.bench

    async def __aexit__(self, *error: object) -> None:
        with anyio.fail_after(25):
            await self.engine.__aexit__(*error)


Wait = Callable[[Callable[[], bool]], object]


async def until(done: Callable[[], bool], within: float = 15) -> None:
    """Wait until it is so, or fail."""
    with anyio.fail_after(within):
        while not done():
            await anyio.sleep(0.02)
