"""Durable run records: how many a second, and how long one waits, against one fdatasync of the same disk."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import anyio

from mcp_server.models import Result, Run
from mcp_server.store import Place
from mcp_server.store.changes import Ids
from mcp_server.store.history import History

from ..harness import Bench, Finding

WRITERS = 16
RATE = 1.0
"""Times 10,000 records a second."""
WAIT = 6.0
"""Times one fdatasync."""


async def measure(bench: Bench) -> list[Finding]:
    """Records a second of 16 writers, what one waits, and the processor of one that nobody waits for."""
    each, number = (50, 500) if bench.quick else (2000, 20_000)
    folder = bench.folder / "store"
    folder.mkdir()
    before = synchronization(folder)
    rate, waits = await committed(folder / "state.db", each)
    sync = (before + synchronization(folder)) / 2
    cost = await recorded(folder / "state.db", number)
    wait = median(waits)
    late = waits[int(len(waits) * 0.95)]
    return [
        Finding("durable records, 10,000 a second", rate / 10_000, RATE, about=f"{rate:,.0f} a second"),
        Finding(
            "wait for a durable record: of one fdatasync",
            wait / sync,
            WAIT,
            at_least=False,
            about=f"p50 {wait * 1e3:.2f} ms, p95 {late * 1e3:.2f} ms, fdatasync {sync * 1e3:.2f} ms",
        ),
        Finding("processor of a record nobody waits for", cost * 1e6, unit="µs"),
    ]


def ended(ids: Ids) -> Run:
    """A run of about 1 KB, as a call leaves it."""
    result = Result(
        content=b'[{"type":"text","text":"' + b"x" * 300 + b'"}]',
        structured=b'{"result":"' + b"x" * 300 + b'"}',
    )
    now = time.time()
    return Run(
        id=ids.new(),
        pipeline="benchmark",
        version=1,
        digest="0" * 64,
        inputs={"text": "x" * 200},
        timeout=300,
        status="done",
        result=result,
        started=now,
        finished=now + 0.01,
    )


def synchronization(folder: Path, size: int = 14 * 4096) -> float:
    """Seconds of one fdatasync after appending as much as a commit of all writers: the median of 500."""
    waits: list[float] = []
    descriptor = os.open(folder / "appended", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for _ in range(500):
        os.write(descriptor, os.urandom(size))
        since = time.perf_counter()
        os.fdatasync(descriptor)
        waits.append(time.perf_counter() - since)
    os.close(descriptor)
    return median(waits)


async def committed(place: Place, each: int) -> tuple[float, Sequence[float]]:
    """Records a second, and the seconds each waited, sorted. The runs are there before."""
    waits, ids = list[float](), Ids()
    async with History(place) as history:
        await history.commit(ended(ids))
        runs = iter([ended(ids) for _ in range(WRITERS * each)])

        async def write() -> None:
            for run in runs:
                since = time.perf_counter()
                await history.commit(run)
                waits.append(time.perf_counter() - since)

        since = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(WRITERS):
                tasks.start_soon(write)
        return len(waits) / (time.perf_counter() - since), sorted(waits)


async def recorded(place: Place, number: int) -> float:
    """Seconds of processor that a run costs which nobody waits for, its thread included."""
    ids = Ids()
    async with History(place) as history:
        await history.commit(ended(ids))
        runs = [ended(ids) for _ in range(number)]
        since = time.process_time()
        for run in runs:
            history.record(run)
            await anyio.lowlevel.checkpoint()
        await history.find("none")
        return (time.process_time() - since) / number
