"""What a running pipeline can reach: its caller, progress, logs, the stream. Safe from any thread."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ..models import Caller, Chunk, Event, Level, Log, Progress

current: ContextVar[Context] = ContextVar("mcp_server.context")
"""The context of the run this code belongs to; threads started for the run inherit it."""


class Stopped(BaseException):
    """Raised inside a pipeline's code when its run was cancelled or ran out of time.

    A BaseException, so that a pipeline's own `except Exception` does not swallow it.
    """


class Context:
    """One run, seen from inside. A wrapper method gets it by a parameter annotated `Context`.

    Every method may be called from async code and from threads; none of them blocks.
    """

    def __init__(self, run: str, caller: Caller, emit: Callable[[Event], None]) -> None:
        self.run = run
        self.caller = caller
        self._emit = emit
        self._stopped = False

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is: `done` of `total`, in any unit, rising."""
        self.check()
        self._emit(Progress(done=done, total=total, message=message))

    def chunk(self, text: str, source: str | None = None) -> None:
        """Stream a piece of text, tagged with the component or model it comes from."""
        self.check()
        if text:
            self._emit(Chunk(text=text, source=source))

    def log(self, level: Level, data: Any, logger: str | None = None) -> None:
        """Send the caller a log line: a string or any JSON value."""
        self._emit(Log(level=level, data=data, logger=logger))

    @property
    def cancelled(self) -> bool:
        """True once the caller has gone or the time is up; long loops should look."""
        return self._stopped

    def check(self) -> None:
        """Raise `Stopped` if the run is to stop."""
        if self._stopped:
            raise Stopped

    def stop(self) -> None:
        """Ask the run to stop; called by the engine."""
        self._stopped = True
