"""The walls of a host, put up from inside: once they stand the process cannot take them down.

Landlock limits files and TCP ports, a filter of system calls all that it does not see, resource limits
memory and files. Everything happens in the forked child: a program such as bubblewrap would have to start a
fresh interpreter (1.2 s and 51 MB in place of 10 ms and 4 MB), and needs user namespaces, which containers
often forbid. It costs a host about 10 ms, and a call nothing. This file says what the system can do;
`rising` does it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache

from ...models import ANY, Walls
from . import landlock, seccomp


@dataclass(frozen=True)
class Abilities:
    """What this system can wall off."""

    landlock: int = 0
    """The version of Landlock; 0 for none."""
    filters: bool = False
    """System calls."""

    def lacking(self, walls: Walls) -> tuple[str, ...]:
        """What these walls need and the system does not have, in words; nothing if they will stand."""
        if not walls.sandbox:
            return () if self.landlock else ("limits on what it writes (Landlock)",)
        ports = walls.net and ANY not in walls.net
        found = {
            "limits on files (Landlock)": not self.landlock,
            "filters for system calls (seccomp)": not self.filters,
            "limits on ports (Landlock 4, Linux 6.7)": bool(ports) and self.landlock < landlock.CONNECTS,
        }
        return tuple(name for name, missing in found.items() if missing)


@cache
def abilities() -> Abilities:
    """Of this system. Light, and asked once."""
    if sys.platform != "linux":
        return Abilities()
    return Abilities(landlock.version(), seccomp.available())
