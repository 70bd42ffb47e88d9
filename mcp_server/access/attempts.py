"""How often credentials of one peer were no good of late."""

from __future__ import annotations

import time
from collections import OrderedDict

MOST = 10
"""Failures in a minute; what fails beyond is told to wait. A credential that is good is never held up: many
callers can share one address, and nobody finds a secret of 256 bits by trying."""
MINUTE = 60.0
PEERS = 10_000
"""Peers that are remembered; the oldest make room."""


class Attempts:
    """Counts failures by peer, in windows of a minute from the first one. In memory, bounded."""

    def __init__(self) -> None:
        self._failed: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def failed(self, peer: str) -> float | None:
        """Count a failure; gives the seconds to wait if it was one too many."""
        now = time.monotonic()
        since, count = self._failed.pop(peer, (now, 0))
        if now - since >= MINUTE:
            since, count = now, 0
        self._failed[peer] = since, count + 1
        if len(self._failed) > PEERS:
            self._failed.popitem(last=False)
        return MINUTE - (now - since) if count >= MOST else None
