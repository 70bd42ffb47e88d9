"""The events of one call on their way to the front: from any thread, in order, many at a time under load."""

from __future__ import annotations

import threading
import time

import orjson

from ...models import Event
from ..ongoing import Home
from .frames import Kind
from .wire import Wire

AHEAD = 256
"""Events of one call that may wait to be sent."""
POLL = 0.005
"""Seconds between looks at whether the front has caught up."""


class Telling:
    """Sends what one call tells, from its `home`; a thread that is faster than the front waits."""

    def __init__(self, wire: Wire, number: int, home: Home) -> None:
        self._wire = wire
        self._number = number
        self._home = home
        self._waiting: list[bytes] = []
        """Told by threads. The first wakes the event loop; what has come until it looks goes together."""
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Tell the front; called from any thread."""
        payload = orjson.dumps(event.model_dump(), default=str)
        if threading.get_ident() == self._home.thread:
            self._send()
            self._wire.send(Kind.EVENT, self._number, payload)
            return
        while len(self._waiting) >= AHEAD or not self._wire.flowing.is_set():
            time.sleep(POLL)
        with self._lock:
            first = not self._waiting
            self._waiting.append(payload)
        if first:
            self._home.loop.call_soon_threadsafe(self._send)

    def _send(self) -> None:
        with self._lock:
            told, self._waiting = self._waiting, []
        for payload in told:
            self._wire.send(Kind.EVENT, self._number, payload)
