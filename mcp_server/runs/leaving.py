"""How the runs of this process end when the server stops."""

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


async def _ends(left: Callable[[], Sequence[Live]], within: float) -> None:
    with anyio.move_on_after(within):
        for live in left():
            await live.end()
