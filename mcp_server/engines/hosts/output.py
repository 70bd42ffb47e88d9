"""What a sandboxed host prints: read from a pipe and passed on to the server's log, so much at most.

With the log itself in its hands it could cut it, read it, or fill the disk.
"""

from __future__ import annotations

import contextlib
import os
import time

RATE = 64 * 1024
"""Bytes a second in the long run; what comes faster is dropped."""
BURST = 1024 * 1024
"""Bytes at once."""


class Output:
    """The end of a host's pipe that is read."""

    def __init__(self) -> None:
        self.reads, self.writes = os.pipe()
        self._left = float(BURST)
        self._looked = time.monotonic()

    def pass_on(self) -> bool:
        """Read what is there; false once the host has let go."""
        data = os.read(self.reads, 64 * 1024)
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._looked) * RATE)
        self._looked = now
        some = data[: int(self._left)]
        self._left -= len(some)
        with contextlib.suppress(OSError):
            os.write(2, some)
        return bool(data)

    def become(self) -> None:
        """In the host: print here from now on."""
        for standard in (1, 2):
            os.dup2(self.writes, standard)
        os.close(self.writes)
        os.close(self.reads)
