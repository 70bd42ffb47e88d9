"""Servers as processes of their own: started, waited for, and how much processor and memory they used."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

START = 300.0
"""Seconds a server may take until it answers."""
LOOK = 0.005


@dataclass(frozen=True)
class Process:
    """A server that answers."""

    port: int
    pid: int
    started: float
    """Seconds from its start to its first right answer."""

    def cpu(self) -> float:
        """Seconds of processor that it and all processes below it have used."""
        return sum(map(seconds, family(self.pid)))

    def memory(self) -> int:
        """Bytes that it alone has in memory and shares with no other, of its children none."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:]}
        return 1024 * (sizes["Private_Clean"] + sizes["Private_Dirty"])


@asynccontextmanager
async def serve(
    command: Callable[[int], Sequence[str]],
    ready: Callable[[int], Awaitable[bool]],
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Process]:
    """Run what `command` gives for a free port, until the block ends.

    It has started once `ready` says so of its port. Raises `RuntimeError` with what it wrote if it ends, or
    never answers.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        since = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *command(port), stdout=log, stderr=log, env={**os.environ, **(environment or {})}
        )
        try:
            while not await answers(ready, port):
                if process.returncode is not None or time.perf_counter() > since + START:
                    log.seek(0)
                    raise RuntimeError(f"no right answer: {log.read()[-3000:].decode(errors='replace')}")
                await asyncio.sleep(LOOK)
            yield Process(port, process.pid, time.perf_counter() - since)
        finally:
            await stop(process)


async def answers(ready: Callable[[int], Awaitable[bool]], port: int) -> bool:
    """True if it does; a server that does not listen yet does not."""
    try:
        return await ready(port)
    except OSError:
        return False


async def stop(process: asyncio.subprocess.Process) -> None:
    """End it: ask first, then kill."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(20):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


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


@contextmanager
def apart(processes: Iterable[Process]) -> Generator[None]:
    """Within, these servers share the first core, and this process has the others, if there are any.

    Where the system puts processes that wake each other says more about it than about them: at the same work,
    the wait of one caller of two processes may be a half longer or not.
    """
    every = os.sched_getaffinity(0)
    first, *others = sorted(every)
    servers = [pid for each in processes for pid in family(each.pid)]
    try:
        if others:
            place(servers, {first})
            os.sched_setaffinity(0, others)
        yield
    finally:
        place(servers, every)
        os.sched_setaffinity(0, every)


def place(pids: Iterable[int], cores: set[int]) -> None:
    """Let all threads of these processes, and what they will start, run on these cores only."""
    for pid in pids:
        for each in Path(f"/proc/{pid}/task").glob("[0-9]*"):
            with suppress(ProcessLookupError):  # it ended
                os.sched_setaffinity(int(each.name), cores)


def seconds(pid: int) -> float:
    """Seconds on a processor of every thread; to the nanosecond, where `stat` has hundredths of a second."""
    total = 0
    for each in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(each.read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended
    return total / 1e9


def module(name: str, *arguments: str) -> list[str]:
    """What runs a module with this Python."""
    return [sys.executable, "-m", name, *arguments]
