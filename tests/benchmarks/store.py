"""Durable run records: how many a second, and how long one waits, against one fdatasync of the same disk.

    python tests/benchmarks/store.py [FOLDER | postgresql+psycopg://…]

The floor (SQLite, 16 writers): 10,000 records a second, median wait at most 6 times one fdatasync.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import anyio

from mcp_server.models import Result, Run
from mcp_server.runs import new_id
from mcp_server.store import Place
from mcp_server.store.history import History

WRITERS = 16
EACH = 2000
FLOOR = 10_000
WAIT = 6.0


def ended() -> Run:
    """A run of about 1 KB, as a call leaves it."""
    result = Result(
        content=b'[{"type":"text","text":"' + b"x" * 300 + b'"}]',
        structured=b'{"result":"' + b"x" * 300 + b'"}',
    )
    now = time.time()
    return Run(
        id=new_id(),
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


def synchronization(folder: Path, bytes: int = 32 * 1024) -> float:
    """Seconds of one fdatasync after appending as much as one commit does: the median of 500."""
    waits: list[float] = []
    descriptor = os.open(folder / "appended", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for _ in range(500):
        os.write(descriptor, os.urandom(bytes))
        since = time.perf_counter()
        os.fdatasync(descriptor)
        waits.append(time.perf_counter() - since)
    os.close(descriptor)
    return median(waits)


async def measure(place: Place) -> tuple[float, list[float]]:
    """Records a second, and the seconds each waited."""
    waits: list[float] = []
    async with History(place) as history:
        await history.commit(ended())

        async def write() -> None:
            for _ in range(EACH):
                run = ended()
                since = time.perf_counter()
                await history.commit(run)
                waits.append(time.perf_counter() - since)

        since = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(WRITERS):
                tasks.start_soon(write)
        return len(waits) / (time.perf_counter() - since), sorted(waits)


async def record(place: Place, number: int = 20_000) -> float:
    """Seconds the event loop spends on a run that nobody waits for."""
    async with History(place) as history:
        await history.commit(ended())
        runs = [ended() for _ in range(number)]
        since = time.process_time()
        for run in runs:
            history.record(run)
            await anyio.lowlevel.checkpoint()
        await history.find("none")
        return (time.process_time() - since) / number


def main() -> None:
    given = sys.argv[1] if len(sys.argv) > 1 else None
    url = given if given and "://" in given else None
    with tempfile.TemporaryDirectory(dir=None if url else given) as made:
        folder = Path(made)
        before = synchronization(folder)
        rate, waits = anyio.run(measure, url or folder / "state.db")
        sync = (before + synchronization(folder)) / 2
        each = anyio.run(record, url or folder / "state.db")
    middle, late = median(waits), waits[int(len(waits) * 0.95)]
    print(f"records a second: {rate:,.0f} = {rate / FLOOR:.2f} x the floor")
    print(f"one fdatasync: {sync * 1e3:.2f} ms")
    print(f"wait: p50 {middle * 1e3:.2f} ms = {middle / sync:.1f} x fdatasync, p95 {late * 1e3:.2f} ms")
    print(f"processor time of a record nobody waits for: {each * 1e6:.0f} us")
    if rate < FLOOR or middle > WAIT * sync:
        sys.exit("below the floor")


if __name__ == "__main__":
    main()
