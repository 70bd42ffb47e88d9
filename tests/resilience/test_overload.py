"""More calls than the server can take: it serves as many as before, and refuses the others soon."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clients import Served, loaded, serve

from mcp_server.cli.pacing import HOLD

from .sockets import call, wire

pytestmark = pytest.mark.anyio

CROWD = Path(__file__).with_name("crowd.py")
AT_ONCE = 32
"""Calls that may be in flight, and clients that suffice to have as many."""
PHASE = (2, 15)
"""Seconds of each measurement."""
ROUNDS = 3
LEAST = (0.6, 0.8)
"""The short form wants less, and once: of the little that a server gets of a busy machine refusals take more.
Those that are given at once leave 0.2 to 0.36."""


@dataclass(frozen=True)
class Seen:
    """What clients saw: good answers in a second, and in a second of the server's CPU."""

    rate: float
    of_cpu: float
    refused: float
    """Refusals in a second."""
    worst: float
    """Seconds that 99 of 100 refusals did not exceed."""


def spent(served: Served) -> float:
    """Seconds of CPU that the server has used."""
    fields = Path(f"/proc/{served.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def core(long: bool) -> Iterator[tuple[str, ...]]:
    """A core for the clients, which the server does not have, where figures are to be told."""
    cores = sorted(os.sched_getaffinity(0))
    apart = long and len(cores) > 1
    try:
        if apart:
            os.sched_setaffinity(0, cores[:-1])
        yield (str(cores[-1]),) if apart else ()
    finally:
        os.sched_setaffinity(0, cores)


async def crowd(served: Served, count: int, rate: float, seconds: int, core: tuple[str, ...]) -> Seen:
    """What so many clients see, who ask again at once, or `rate` times a second together."""
    port = served.url.rpartition(":")[2]
    given = (sys.executable, str(CROWD), port, str(count), str(rate), str(seconds), *core)
    before = spent(served)
    process = await asyncio.create_subprocess_exec(*given, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, _ = await process.communicate(call(served.url, "echo", {"text": "hi"}))
    cpu = spent(served) - before
    told: dict[str, Any] = json.loads(output)
    print(count, "clients", told, f"{cpu / seconds:.2f} of a core")
    assert not told["wrong"], told["wrong"]
    return Seen(told["good"] / seconds, told["good"] / cpu, told["refused"] / seconds, told["worst"])


async def test_five_times_the_load_leaves_four_fifths_of_the_good_answers(
    folder: Path, long: bool, core: tuple[str, ...]
) -> None:
    """Five times the load is that of five times as many clients as there are places, who ask again as soon as
    they are answered or refused; and that of clients who fire five times as many calls a second as the server
    can answer, as far as eight connections for each place can carry them.

    The peak is measured just before, with the same clients. The long form goes by the clock, clients on one
    core and the server on the other; the short one by the CPU, of which a busy machine leaves each a share.
    """
    seconds, shares, waits = PHASE[long], dict[str, list[float]](), dict[str, list[float]]()
    async with serve(folder, "--max-calls", str(AT_ONCE)) as served:
        await loaded(served.url)
        await crowd(served, AT_ONCE, 0, 1, core)
        for _ in range(ROUNDS):
            peak = await crowd(served, AT_ONCE, 0, seconds, core)
            closed = await crowd(served, 5 * AT_ONCE, 0, seconds, core)
            fired = await crowd(served, 8 * AT_ONCE, 5 * peak.rate, seconds, core)
            for form, seen, clients in (("closed", closed, 5 * AT_ONCE), ("open", fired, 8 * AT_ONCE)):
                by_clock, by_cpu = seen.rate / peak.rate, seen.of_cpu / peak.of_cpu
                print(f"{form}: {by_clock:.2f} of the peak, {by_cpu:.2f} by CPU, p99 {seen.worst:.3f} s")
                shares.setdefault(form, []).append(by_clock if long else by_cpu)
                waits.setdefault(form, []).append(seen.worst)
                assert 0 < seen.refused < 1.1 * clients / HOLD
            if not long and all(max(each) > LEAST[long] for each in shares.values()):
                break
        since = time.monotonic()
        async with wire(served.url) as raw:
            await raw.send(call(served.url, "echo", {"text": "hi"}))
            assert (await raw.answer())[0] == 200
        assert time.monotonic() - since < 2
    typical = statistics.median if long else max
    for form in shares:
        assert typical(shares[form]) > LEAST[long], form
        assert statistics.median(waits[form]) < (0.1 if long else 2), form
