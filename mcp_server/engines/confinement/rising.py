"""Puts up the walls around the process it runs in: a forked host, before it loads anything. Linux only."""

from __future__ import annotations

import ctypes
import os
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...models import ANY, Walls
from . import landlock, seccomp
from .places import readable
from .privileges import drop

DESCRIPTORS = 512
"""Files that a sandboxed host may have open."""
MAKES_FILES = landlock.Right.WRITE_FILE | landlock.Right.TRUNCATE | landlock.Right.READ_FILE


def confine(walls: Walls, temporary: Path | None) -> None:
    """Put up the walls around this process, which must have a single thread; for good.

    `temporary` is a folder that no other host sees, for a sandbox. Raises OSError if they do not stand.
    """
    if not walls.sandbox:
        _no_new_privileges()
        handled = landlock.CHANGE | landlock.DEVICES
        free = (*walls.own, *walls.write, Path(tempfile.gettempdir()), Path("/dev"), Path("/proc/self"))
        rights = [(place, landlock.CHANGE) for place in free]
        landlock.restrict(rights, handled, ports=None, scoped=False)
        return
    assert temporary is not None
    _settle(temporary)
    _limit(walls)
    drop()
    _no_new_privileges()
    every = landlock.Right(0xFFFF)
    ports = None if ANY in walls.net else tuple(map(int, walls.net))
    landlock.restrict(_rights(walls, temporary), every, ports=ports, scoped=True)
    seccomp.restrict(os.getpid(), tcp=bool(walls.net), anything=ANY in walls.net)


def _rights(walls: Walls, temporary: Path) -> Iterator[tuple[Path, landlock.Right]]:
    hidden = tuple(each.resolve() for each in walls.hidden)
    for place in (*readable(hidden), *walls.read):
        yield place, landlock.READ
    for place in walls.given:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield place, landlock.Right.READ_FILE
    for place in (*walls.own, temporary, *walls.write):
        yield place, (landlock.CHANGE & ~landlock.Right.MAKE_SOCK) | landlock.READ
    yield Path("/dev/null"), MAKES_FILES
    yield Path("/proc/self"), landlock.READ | landlock.Right.WRITE_FILE


def _settle(temporary: Path) -> None:
    """Make the folder what programs take for home and for temporary files."""
    for name in ("HOME", "TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME"):
        if name in os.environ or name in ("HOME", "TMPDIR"):
            os.environ[name] = str(temporary)
    os.environ["RES_OPTIONS"] = "use-vc"  # names are looked up over TCP: UDP is not let through
    tempfile.tempdir = str(temporary)
    os.chdir(temporary)


def _limit(walls: Walls) -> None:
    """RLIMIT_AS would break what maps much and uses little, such as torch; RLIMIT_NPROC counts all the
    user's threads; RLIMIT_CPU would end a host for having lived long."""
    limits = {
        resource.RLIMIT_DATA: walls.memory,
        resource.RLIMIT_FSIZE: walls.file_size,
        resource.RLIMIT_NOFILE: min(DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for which, most in limits.items():
        resource.setrlimit(which, (most, most))


def _no_new_privileges() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
