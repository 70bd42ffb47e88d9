"""From the start of the program to the answer of `initialize`, and what it then has in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from ..harness import Bench, Finding, write
from ..load import connect
from ..processes import Process, module, seconds, serve
from ..requests import SESSION, Client
from .calls import ASYNC

START, START_MANY = 1.3, 2.0
"""Times the start of a server of the SDK alone."""
MEMORY, MEMORY_MANY = 25.0, 30.0
"""Megabytes beyond a server of the SDK alone, and for the pipelines beyond that."""
MB = 1024 * 1024


async def measure(bench: Bench) -> list[Finding]:
    """Beside a server of the SDK alone: ours with one pipeline, and with many at a later start."""
    number = 1000 if not bench.quick else 20
    one, many = folder(bench, "one", 1), folder(bench, "many", number)
    await settled(one, 1)
    await settled(many, number)
    begun: dict[str, list[Start]] = {"sdk": [], "one": [], "many": []}
    for _ in range(bench.rounds):
        begun["sdk"].append(await begin(bench.peers["SDK low-level"].start))
        for name, path in (("one", one), ("many", many)):
            begun[name].append(await begin(partial(command, path)))
    return [*starts(begun, number), *memories(begun, number)]


class Start:
    """What a start took."""

    def __init__(self, process: Process, spent: float) -> None:
        self.seconds = process.started
        self.spent = spent
        """Seconds of processor of the process that answers, of its children none."""
        self.memory = process.memory() / MB


async def begin(start: Callable[[int], Sequence[str]]) -> Start:
    """Start it, wait for the answer of `initialize`, look, and end it."""
    async with serve(start, initialized) as process:
        return Start(process, seconds(process.pid))


async def initialized(port: int) -> bool:
    """True once `initialize` is answered."""
    await Client(port, SESSION).open()
    return True


async def settled(path: Path, number: int) -> None:
    """A first start, in which the pipelines are loaded and what is learned of them is kept."""

    async def loaded(port: int) -> bool:
        line = await connect(port)
        try:
            told = await line.ask(f"GET /status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        finally:
            line.close()
        return told.count(b'"status":"running"') == number

    async with serve(partial(command, path), loaded):
        pass


def folder(bench: Bench, name: str, number: int) -> Path:
    """So many pipelines, and a place for the server's own files."""
    path = bench.folder / f"start-{name}"
    for place in range(number):
        write(path / "pipelines" / f"echo{place}", ASYNC)
    (path / "state").mkdir()
    return path


def command(path: Path, port: int) -> Sequence[str]:
    where = [str(path / "pipelines"), "--state", str(path / "state"), "--port", str(port)]
    return module("mcp_server", "run", *where, "--tool-mode", "direct")


def starts(begun: dict[str, list[Start]], number: int) -> list[Finding]:
    """Ratios of the time to the first answer."""
    base = median(each.seconds for each in begun["sdk"])
    found: list[Finding] = []
    for name, bound, what in (
        ("one", START, "start to initialize"),
        ("many", START_MANY, f"the same with {number:,} pipelines, not for the first time"),
    ):
        took, spent = (
            median(each.seconds for each in begun[name]),
            median(each.spent for each in begun[name]),
        )
        own = median(each.spent for each in begun["sdk"])
        about = f"{took:.2f} s beside {base:.2f} s; {spent:.2f} s of processor beside {own:.2f} s"
        found.append(Finding(f"{what}: of the SDK alone", took / base, bound, at_least=False, about=about))
    return found


def memories(begun: dict[str, list[Start]], number: int) -> list[Finding]:
    """What is in memory beyond the SDK alone."""
    sdk, one, many = (median(each.memory for each in begun[name]) for name in ("sdk", "one", "many"))
    about = f"{one:.0f} MB beside {sdk:.0f} MB"
    further = f"{many:.0f} MB beside {one:.0f} MB"
    return [
        Finding(
            "memory, idle: beyond the SDK alone", one - sdk, MEMORY, at_least=False, unit="MB", about=about
        ),
        Finding(
            f"memory for {number:,} listed pipelines",
            many - one,
            MEMORY_MANY,
            at_least=False,
            unit="MB",
            about=further,
        ),
    ]
