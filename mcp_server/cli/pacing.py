"""When refusals are given: not at once, for whoever is refused at once asks again at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

HOLD = 0.06
"""Seconds a refusal waits."""
CROWD = 200
"""From so many on they wait longer."""
LONG_HOLD = 0.075
"""Who is refused is to hear of it within 0.1 s."""
BEAT = 0.005
"""Seconds whose refusals are given together."""


class Refusals:
    """Those that wait.

    A refusal costs less than a call, but clients that do not wait before they try again would get so many
    that nothing is left for the calls. What a connection sends is not read before it got its refusal, so it
    gets seventeen a second at most, or thirteen in a crowd.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()

    def later(self, refuse: Callable[[], None]) -> None:
        """Call it when it has waited."""
        loop = asyncio.get_running_loop()
        hold = HOLD if len(self._waiting) < CROWD else LONG_HOLD
        if not self._waiting:
            loop.call_later(hold, self._give)
        self._waiting.append((loop.time() + hold, refuse))

    def _give(self) -> None:
        loop, waiting = asyncio.get_running_loop(), self._waiting
        until = loop.time() + BEAT
        while waiting and waiting[0][0] < until:
            waiting.popleft()[1]()
        if waiting:
            loop.call_at(waiting[0][0], self._give)
