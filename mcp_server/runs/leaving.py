"""How runs end that nobody asked to: when the server stops, and when too many wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from .live import Live

LEAVE = 5.0
"""Seconds that runs get to be recorded."""


async def leave(left: Callable[[], Sequence[Live]], drain: float) -> None:
    """Let what goes on end within `drain` seconds. Nobody can answer questions any more."""
    for live in left():
        if live.question is not None:
            live.interrupt()
    await _ends(left, drain)
    for live in left():
        live.interrupt()
    await _ends(left, LEAVE)


def make_room(left: Sequence[Live], pipeline: str, most: int) -> None:
    """Stop the run of this pipeline that waits longest if more than `most` wait: each may hold a thread."""
    waiting = [each for each in left if each.question and each.run.pipeline == pipeline]
    if len(waiting) > most:
        min(waiting, key=lambda each: each.changed).cancel()


async def _ends(left: Callable[[], Sequence[Live]], within: float) -> None:
    with anyio.move_on_after(within):
        for live in left():
            await live.end()
