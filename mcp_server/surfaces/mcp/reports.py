"""What a run says while it goes, as notifications to the client that asked for them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import get_args

import anyio
import mcp_types as types

from ...models import Chunk, Emit, Event, Level, Log, Progress
from ...runs import ignore
from .eras import Request, connection, is_modern

BEAT = 0.1
"""Seconds between two pieces of streamed text; what arrives meanwhile is joined to the next piece."""

BACKLOG = 64
"""Events that may wait for a slow client before progress that was overtaken is left out."""

LEVELS: tuple[Level, ...] = get_args(Level)
LEVEL = "level"
"""Where a session keeps the level its client asked for."""


@asynccontextmanager
async def reported(request: Request) -> AsyncGenerator[Emit]:
    """An `emit` whose events reach the client in order, all of them before the block ends.

    Emitting never waits for the client, so one that does not read cannot hold up a run. Progress and
    streamed text are sent if the request carries a progress token; log lines from the level that was
    asked for: by `logging/setLevel` in a handshake session, by the request's `_meta` in the modern era.
    """
    report = Report(request)
    if not report.wanted:
        yield ignore
        return
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(report.deliver)
            yield report.emit
            report.end()
    except BaseExceptionGroup as group:  # what the block raised, wrapped by the task group
        raise group.exceptions[0] from None


class Report:
    """The events of one run on their way to one client."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._progress = "progress_token" in (request.meta or {})
        self._levels = wanted_levels(request)
        self._waiting: deque[Event] = deque()
        self._news = anyio.Event()
        self._ended = anyio.Event()
        self._done = 0.0
        self._total: float | None = None
        self._measured = self._sent = False

    @property
    def wanted(self) -> bool:
        """True if the client wants to hear anything at all."""
        return self._progress or bool(self._levels)

    async def emit(self, event: Event) -> None:
        """Take an event: text joins text that waits, and a long queue keeps only the latest progress."""
        if not self._hears(event):
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(event, Chunk) and isinstance(last, Chunk):
            self._waiting[-1] = Chunk(text=last.text + event.text)
        elif isinstance(event, Progress) and isinstance(last, Progress) and len(self._waiting) >= BACKLOG:
            self._waiting[-1] = event
        else:
            self._waiting.append(event)
        self._news.set()

    def end(self) -> None:
        """No more events will come; `deliver` sends what waits and returns."""
        self._ended.set()
        self._news.set()

    async def deliver(self) -> None:
        """Send events as they come, streamed text once per beat, until the end."""
        while self._waiting or not self._ended.is_set():
            await self._news.wait()
            self._news = anyio.Event()
            streamed = any(isinstance(event, Chunk) for event in self._waiting)
            while self._waiting:
                await self._send(self._waiting.popleft())
            if streamed:
                with anyio.move_on_after(BEAT):
                    await self._ended.wait()

    def _hears(self, event: Event) -> bool:
        return event.level in self._levels if isinstance(event, Log) else self._progress

    async def _send(self, event: Event) -> None:
        match event:
            case Progress():
                self._total, self._measured = event.total, True
                await self._advance(event.done, event.message)
            case Chunk():  # counted until the pipeline itself says how far it is
                await self._advance(self._done + (not self._measured), event.text)
            case Log():
                await self._log(event)
            case _:
                raise TypeError(f"{event.kind} is not reported, but acted on")

    async def _advance(self, done: float, message: str | None) -> None:
        """Send progress. Its value MUST rise each time (MCP, utilities/progress), if only by a hair."""
        least = math.nextafter(self._done, math.inf) if self._sent else self._done
        self._done, self._sent = max(least, done) if math.isfinite(done) else least, True
        total = self._total if self._total is not None and self._done <= self._total < math.inf else None
        await self._request.session.report_progress(self._done, total, message)

    async def _log(self, event: Log) -> None:
        line = types.LoggingMessageNotificationParams(level=event.level, data=event.data, logger=event.logger)
        notification = types.LoggingMessageNotification(params=line)
        await self._request.session.send_notification(notification, self._request.request_id)


def wanted_levels(request: Request) -> frozenset[Level]:
    """The log levels this request's client asked for; none if it did not ask."""
    if is_modern(request):
        lowest = (request.meta or {}).get(types.LOG_LEVEL_META_KEY)
    else:
        lowest = connection(request).state.get(LEVEL)
    return frozenset(LEVELS[LEVELS.index(lowest) :]) if lowest in LEVELS else frozenset()


async def set_level(request: Request, params: types.SetLevelRequestParams) -> types.EmptyResult:
    """Handle `logging/setLevel`: this session hears log lines of that level and above."""
    connection(request).state[LEVEL] = params.level
    return types.EmptyResult()
