"""Ended runs that are remembered because somebody was given their id: the latest, as far as they fit."""

from __future__ import annotations

from ..store.changes import packed
from .live import Live

MOST = 1000
BYTES = 64 * 2**20
"""Of inputs, results and what was said, as JSON. What is older is read from the store."""


class Kept(dict[str, Live]):
    """By id, the oldest first."""

    def __init__(self) -> None:
        super().__init__()
        self._sizes: dict[str, int] = {}
        self._bytes = 0

    def keep(self, live: Live) -> None:
        """Remember it, and forget the oldest ones for it; at least it is kept."""
        identity = live.run.id
        if identity in self:
            self._forget(identity)
        self[identity] = live
        self._sizes[identity] = size = size_of(live)
        self._bytes += size
        while len(self) > MOST or (self._bytes > BYTES and len(self) > 1):
            self._forget(next(iter(self)))

    def _forget(self, identity: str) -> None:
        del self[identity]
        self._bytes -= self._sizes.pop(identity)


def size_of(live: Live) -> int:
    """Bytes that it holds, about."""
    run, size = live.run, live.said
    if (result := run.result) is not None:
        size += len(result.content) + len(result.structured or b"")
        size += sum(len(each.content) for each in result.artifacts)
    return size + len(packed(run.inputs))
