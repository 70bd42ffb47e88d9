"""How long the calls in a host have computed; the host is ended when one of them passes its limit.

RLIMIT_CPU would count the whole life of a host. What the process used between two looks is divided among
the calls that were in flight; without a call it counts too, until the next one begins.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

LOOKS = 0.25
"""Seconds between two looks while there are calls."""
REST = 1.0
"""The same while there are none."""


class Metered(Protocol):
    """A call in flight."""

    computed: float


async def watch(pid: int, limit: float, calls: Callable[[], Collection[Metered]]) -> bool:
    """True once a call, or the host without one, computed for more than `limit` s; false if it is gone."""
    before, idle = seconds(pid), 0.0
    while before is not None:
        active = calls()
        await asyncio.sleep(LOOKS if active else REST)
        if (now := seconds(pid)) is None:
            return False
        used, before = now - before, now
        if active := calls():
            idle = 0.0
        else:
            idle += used
        for call in active:
            call.computed += used / len(active)
        if idle > limit or any(call.computed > limit for call in active):
            return True
    return False


def seconds(pid: int) -> float | None:
    """What the process has computed in all, children that have ended included; None if it is gone."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    times = told.rpartition(")")[2].split()[11:15]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
