"""How much this process uses. What the system does not tell is None."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from ...models import Json

MEGABYTE = 1024 * 1024
STARTED = time.monotonic()


def memory_megabytes() -> float | None:
    """Resident memory now, or on systems without /proc the most there ever was."""
    resident = resident_bytes()
    return None if resident is None else round(resident / MEGABYTE, 1)


def resident_bytes() -> int | None:
    """The same in bytes."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def system() -> Json:
    """Processor and memory in percent: of one core since the start, of all memory now."""
    resident, total = resident_bytes(), memory_total()
    return {
        "cpu_percent": round(100 * time.process_time() / max(0.001, time.monotonic() - STARTED), 1),
        "memory_percent": round(100 * resident / total, 1) if resident and total else None,
    }


def memory_total() -> int | None:
    """Bytes of memory that the machine has."""
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None
