"""How a row of the table comes about: servers that are loaded in turn, and what is compared of them.

Every row is a file in `rows` with `async def measure(bench) -> list[Finding]`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from textwrap import dedent
from types import MappingProxyType

import anyio

from .load import CONNECTIONS, Answers, Check, load
from .peers import Peer
from .processes import Process, module, seconds, serve
from .requests import ERAS, MODERN, TEXT, Client, Era, answered

SETTLE = 0.3
"""Seconds in which a server does what is left of its calls, such as recording them."""
FAST = 3
"""How many times the requests of a round the fast ones get."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Finding:
    """One line of the table."""

    what: str
    value: float | None
    """None if it could not be measured; `about` says why."""
    bound: float | None = None
    """The floor; None for a figure that is only told."""
    at_least: bool = True
    """True if the value is to be at least the bound, false if at most."""
    unit: str = "×"
    about: str = ""
    """The figures behind it."""
    era: Era | None = None
    """The one it was measured in; None if it is the same in both, or only one is meant."""

    @property
    def holds(self) -> bool:
        """True if the floor is reached, or there is none."""
        if self.bound is None:
            return True
        if self.value is None:
            return False
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass(frozen=True)
class Target:
    """Something to load: a server and how it is asked."""

    name: str
    process: Process
    request: Callable[[int], bytes]
    check: Check = answered
    times: int = 1
    """How many times the requests of a round it gets: who answers fast would be done too soon to tell."""


@dataclass
class Load:
    """What was measured of a target, one of each a round."""

    costs: list[float] = field(default_factory=list)
    """Seconds of processor per request."""
    fronts: list[float] = field(default_factory=list)
    """Those of the process alone, without its children."""
    answers: list[Answers] = field(default_factory=list)

    @property
    def cost(self) -> float:
        """Microseconds of processor per request."""
        return 1e6 * median(self.costs)

    def times(self, other: Load) -> float:
        """What it costs, as a multiple of the other: the median over the rounds."""
        return median(one / two for one, two in zip(self.costs, other.costs, strict=True))

    @property
    def wait(self) -> float:
        """Milliseconds of the median wait."""
        return 1e3 * median(each.percentile(0.5) for each in self.answers)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return median(len(each.waits) / each.seconds for each in self.answers)


class Bench:
    """What a row may use: how long to measure, a folder of its own, the peers; why others are `missing`."""

    def __init__(
        self, folder: Path, peers: Mapping[str, Peer], missing: Mapping[str, str], *, quick: bool
    ) -> None:
        self.folder = folder
        self.peers, self.missing = peers, missing
        self.quick = quick
        self.rounds = 1 if quick else 7
        self.requests = 160 if quick else 2000
        self.errors: list[str] = []
        """Wrong answers; a benchmark with any has failed."""
        self.costs: dict[str, float] = {}
        """Microseconds of processor per call, by server: what the picture shows."""

    async def compare(
        self, targets: Sequence[Target], number: int | None = None, connections: int = CONNECTIONS
    ) -> Mapping[str, Load]:
        """Load all of them in turn, several rounds; what disturbs one round disturbs all of it.

        What a server does in `SETTLE` after its last answer counts; of one caller only the wait does.
        """
        found = {each.name: Load() for each in targets}
        number = number or self.requests
        for each in targets:
            await self.load(each, max(connections, number * each.times // 4), connections)  # warm
        for _ in range(self.rounds):
            for each in targets:
                await self.turn(found[each.name], each, number * each.times, connections)
        return found

    async def turn(self, found: Load, target: Target, number: int, connections: int) -> None:
        """Load it once, and add what was measured to what was found."""
        process = target.process
        before, front = process.cpu(), seconds(process.pid)
        answers = await self.load(target, number, connections)
        if connections > 1 and not self.quick:
            await anyio.sleep(SETTLE)
        found.costs.append((process.cpu() - before) / number)
        found.fronts.append((seconds(process.pid) - front) / number)
        found.answers.append(answers)

    async def load(self, target: Target, number: int, connections: int) -> Answers:
        """Load it without measuring, but for wrong answers."""
        answers = await load(target.process.port, target.request, target.check, number, connections)
        if answers.errors:
            self.errors.append(f"{target.name}: {answers.errors} wrong, such as {answers.fault}")
        return answers

    @asynccontextmanager
    async def ours(
        self, name: str, pipelines: Mapping[str, str], *flags: str, extra: Mapping[str, str] = NO_HEADERS
    ) -> AsyncIterator[Process]:
        """Our server over wrappers (the body of each class by name), with history, limits and access on.

        `extra` are headers that its clients need; see `key`.
        """
        folder = self.folder / name
        for pipeline, body in pipelines.items():
            write(folder / "pipelines" / pipeline, body)
        (folder / "state").mkdir(parents=True, exist_ok=True)
        one = next(iter(pipelines))

        def command(port: int) -> list[str]:
            where = [str(folder / "pipelines"), "--state", str(folder / "state"), "--port", str(port)]
            return module("mcp_server", "run", *where, *flags)

        async def ready(port: int) -> bool:
            return await works(port, one, extra)

        async with serve(command, ready) as process:
            yield process

    async def key(self, name: str) -> dict[str, str]:
        """The header with a key for the server of that name; its rates are counted, and never reached."""
        state = self.folder / name / "state"
        state.mkdir(parents=True)
        rates = ("--per-second", "1000000", "--per-hour", "1000000000")
        words = module("mcp_server", "keys", "create", "benchmark", "--state", str(state), *rates, "--json")
        made = await anyio.run_process(words)
        return {"Authorization": f"Bearer {json.loads(made.stdout)['key']}"}

    async def clients(self, stack: AsyncExitStack, process: Process) -> Mapping[Era, Client]:
        """A client of each era."""
        return {era: await Client(process.port, era).open() for era in ERAS}


async def works(port: int, tool: str, extra: Mapping[str, str]) -> bool:
    """True if a call of the tool is answered rightly."""
    client = await Client(port, MODERN, extra=extra).open()
    answers = await load(port, lambda n: client.call(n, tool, {"text": TEXT}), answered, 1, 1)
    return not answers.errors


def write(folder: Path, body: str) -> None:
    """A wrapper whose class has this body."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    head = "import asyncio\nfrom mcp_server import Context, PipelineWrapper as Base\n\n\n"
    text = "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    (folder / "pipeline_wrapper.py").write_text(f"{head}class PipelineWrapper(Base):\n{text}")
