"""From the start of the program to the answer of `initialize`, and what it then has in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from ..harness import Bench, Finding, write
from ..load import PATIENCE, connect
from ..processes import module, seconds, serve
from ..requests import SESSION, Client
from .calls import ASYNC

START, START_MANY = 1.3, 2.0
"""Times the start of a server of the SDK alone."""
MEMORY, MEMORY_MANY = 25.0, 30.0
"""Megabytes beyond a server of the SDK alone, and for the pipelines beyond that."""
MB = 1024 * 1024
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Modules are compiled once, as where packages are installed, and not at every start."""
LATER = 0.5
"""Seconds between two looks at whether all pipelines are loaded."""


async def measure(bench: Bench) -> list[Finding]:
    """Beside a server of the SDK alone: ours with one pipeline, and with many at a later start."""
    number = 1000 if not bench.quick else 20
    one, many = folder(bench, "one", 1), folder(bench, "many", number)
    await settled(one, 1)
    await settled(many, number)
    await begin(bench.peers["SDK low-level"].start, "echo")
    begun: dict[str, list[Start]] = {"sdk": [], "one": [], "many": []}
    for _ in range(bench.rounds):
        begun["sdk"].append(await begin(bench.peers["SDK low-level"].start, "echo"))
        for name, path, last in (("one", one, "echo0"), ("many", many, f"echo{number - 1}")):
            begun[name].append(await begin(partial(command, path), last))
    if any(each.has_numpy for each in [*begun["one"], *begun["many"]]):
        bench.errors.append("start: the process that answers has imported Haystack")
    return [*starts(begun, number), *memories(begun, number)]


@dataclass(frozen=True)
class Start:
    """What a start took."""

    seconds: float
    spent: float
    """Seconds of processor of the process that answers, of its children none."""
    memory: float
    """Megabytes once all its pipelines are listed."""
    has_numpy: bool
    """True if what Haystack imports is there."""


async def begin(start: Callable[[int], Sequence[str]], last: str) -> Start:
    """Start it, wait for the answer of `initialize`, then until `last` is listed, and end it."""
    async with serve(start, initialized, COMPILED) as process:
        spent = seconds(process.pid)
        client = await Client(process.port, SESSION).open()
        async with asyncio.timeout(PATIENCE):
            while f'"{last}"'.encode() not in await asked(process.port, client.list(1)):
                await asyncio.sleep(0.05)
        maps = Path(f"/proc/{process.pid}/maps").read_text()
        return Start(process.started, spent, process.memory() / MB, "/numpy/" in maps)


async def asked(port: int, request: bytes) -> bytes:
    """The answer to a single request."""
    line = await connect(port)
    try:
        return await line.ask(request)
    finally:
        line.close()


async def initialized(port: int) -> bool:
    """True once `initialize` is answered."""
    await Client(port, SESSION).open()
    return True


async def settled(path: Path, number: int) -> None:
    """A first start, in which the pipelines are loaded and what is learned of them is kept."""

    async def loaded(port: int) -> bool:
        await asyncio.sleep(LATER)  # or the asking would be most of its work
        told = await asked(port, f"GET /status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        return told.count(b'"status":"running"') == number

    async with serve(partial(command, path), loaded, COMPILED):
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
    """Ratios of the time to the first answer: the median over the rounds."""
    sdk, found = begun["sdk"], list[Finding]()
    for name, bound, what in (
        ("one", START, "start to initialize: of a server of the SDK"),
        ("many", START_MANY, f"the same with {number:,} pipelines, a later start"),
    ):
        times = median(own.seconds / bare.seconds for own, bare in zip(begun[name], sdk, strict=True))
        took, base = (median(each.seconds for each in several) for several in (begun[name], sdk))
        spent, least = (median(each.spent for each in several) for several in (begun[name], sdk))
        about = f"{took:.2f} s beside {base:.2f} s; {spent:.2f} s of processor beside {least:.2f} s"
        found.append(Finding(what, times, bound, at_least=False, about=about))
    return found


def memories(begun: dict[str, list[Start]], number: int) -> list[Finding]:
    """What is in memory beyond the SDK alone."""
    sdk, one, many = (median(each.memory for each in begun[name]) for name in ("sdk", "one", "many"))
    about, further = f"{one:.0f} MB beside {sdk:.0f} MB", f"{many:.0f} MB beside {one:.0f} MB"
    beyond = Finding("memory, idle: beyond a server of the SDK", one - sdk, MEMORY, False, "MB", about)
    listed = Finding(f"memory for {number:,} listed pipelines", many - one, MEMORY_MANY, False, "MB", further)
    return [beyond, listed]
