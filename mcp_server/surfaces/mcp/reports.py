"""What a run says while it goes, as notifications to the client that asked for them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast, get_args

import anyio
import mcp_types as types

from ...models import Chunk, Emit, Event, Json, Level, Log, Progress
from ...models.meta import TEXT
from ...runs import ignore
from .eras import Request, connection, is_modern
from .partial import PartialResult, Parts, partial_token

BEAT = 0.1
"""Seconds after each piece of streamed text; what arrives meanwhile is joined to the next piece."""

SILENCE = 8.0
"""Seconds without a report after which one says that the work goes on; clients give up on silent calls."""

BACKLOG = 64
"""Events that may wait for a slow client before progress that was overtaken is left out."""

ROOM = 2 * 2**20
"""Characters that may wait for a client that does not read; what comes then is left out."""
LEFT_OUT = "… (the rest of the stream is left out, because it was not read; the result has it)"
WEIGHT = 200
"""Characters that an event counts for beside its text."""

LEVELS: tuple[Level, ...] = get_args(Level)
LEVEL = "level"
"""Where a session keeps the level its client asked for."""


@asynccontextmanager
async def reported(request: Request, name: str, *, partial: bool = False) -> AsyncGenerator[Emit]:
    """An `emit` whose events reach the client in order, all of them before the block ends.

    Emitting never waits for the client, so one that does not read cannot hold up a run. Progress and
    streamed text are sent if the request carries a progress token, and in silence a sign of life that says
    what goes on; log lines from the level that was asked for: by `logging/setLevel` in a handshake session,
    by the request's `_meta` in the modern era. `name` is what runs. With `partial`, streamed text goes out
    as partial results to a client that asks for these, and not as progress.
    """
    report = Report(request, name, partial_token(request) if partial else None)
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


@dataclass(frozen=True)
class Text:
    """Streamed text of one source that waits to be sent."""

    source: str | None
    pieces: list[str]


class Report:
    """The events of one run on their way to one client."""

    def __init__(self, request: Request, name: str, partial: types.ProgressToken | None) -> None:
        self._request = request
        self._token: types.ProgressToken | None = (request.meta or {}).get("progress_token")
        self._parts = Parts(partial) if partial is not None else None
        self._levels = wanted_levels(request)
        self._waiting: deque[Progress | Log | Text] = deque()
        self._texts: dict[str | None, Text] = {}
        """Those that wait, by their source."""
        self._room = ROOM
        self._cut = False
        """True once text was left out; more of it would not fit what was sent."""
        self._news = anyio.Event()
        self._ended = anyio.Event()
        self._began = anyio.current_time()
        self._doing = f"{name} is running"
        self._done = 0.0
        self._total: float | None = None
        self._measured = self._sent = False

    @property
    def wanted(self) -> bool:
        """True if the client wants to hear anything at all."""
        return self._token is not None or self._parts is not None or bool(self._levels)

    async def emit(self, event: Event) -> None:
        """Take an event. Text joins waiting text of its source; a long queue keeps the latest progress."""
        match event:
            case Chunk() if self._token is not None or self._parts is not None:
                self._join(event)
            case Progress() if self._token is not None:
                self._queue(event)
            case Log() if event.level in self._levels:
                self._queue(event)
            case _:
                return
        self._news.set()

    def end(self) -> None:
        """No more events will come; `deliver` sends what waits and returns."""
        self._ended.set()
        self._news.set()

    async def deliver(self) -> None:
        """Send events as they come, text in turn with a beat after each piece, until the end."""
        while self._waiting or not self._ended.is_set():
            with anyio.move_on_after(SILENCE) as silence:
                await self._news.wait()
            if silence.cancelled_caught and self._token is not None:
                await self._advance(self._done, f"{self._doing}, {anyio.current_time() - self._began:.0f} s")
            await self._empty()

    async def _empty(self) -> None:
        """Send what waits now; of each source that is one piece, and what comes meanwhile joins the next."""
        self._news = anyio.Event()
        pieces = 0
        for _ in range(len(self._waiting)):
            if not self._waiting:  # the latest was overtaken
                break
            event = self._waiting.popleft()
            self._room += weight(event)
            if isinstance(event, Text):
                pieces += 1
                del self._texts[event.source]
            await self._send(event)
        if pieces:
            with anyio.move_on_after(BEAT * pieces):
                await self._ended.wait()

    def _join(self, chunk: Chunk) -> None:
        """Text keeps its order within a source; beside other events it moves by a beat at most."""
        if self._cut:
            return
        self._cut = bool(self._waiting) and self._room < len(chunk.text)
        if chunk.source not in self._texts:
            self._texts[chunk.source] = Text(chunk.source, [])
            self._waiting.append(self._texts[chunk.source])
        piece = LEFT_OUT if self._cut else chunk.text
        self._texts[chunk.source].pieces.append(piece)
        self._room -= WEIGHT + len(piece)

    def _queue(self, event: Progress | Log) -> None:
        full = len(self._waiting) >= BACKLOG
        if full and isinstance(event, Progress) and isinstance(self._waiting[-1], Progress):
            self._room += weight(self._waiting.pop())  # it is overtaken
        if not self._waiting or self._room >= weight(event):
            self._waiting.append(event)
            self._room -= weight(event)

    async def _send(self, event: Progress | Log | Text) -> None:
        match event:
            case Progress():
                self._total, self._measured = event.total, True
                self._doing = event.message or self._doing
                await self._advance(event.done, event.message)
            case Text():
                await self._say(
                    "".join(event.pieces), {TEXT: {"source": event.source} if event.source else {}}
                )
            case Log():
                await self._log(event)

    async def _say(self, text: str, meta: Json) -> None:
        if self._parts is not None:
            await self._notify(self._parts.next(text, meta))
        else:  # counted until the pipeline itself says how far it is
            await self._advance(self._done + (not self._measured), text, meta)

    async def _advance(self, done: float, message: str | None, meta: Json | None = None) -> None:
        """Send progress. Its value MUST rise each time (MCP, utilities/progress), if only by a hair."""
        least = math.nextafter(self._done, math.inf) if self._sent else self._done
        self._done, self._sent = max(least, done), True
        total = self._total if self._total is not None and self._done <= self._total else None
        if self._token is not None:
            params = types.ProgressNotificationParams(
                progress_token=self._token, progress=self._done, total=total, message=message, _meta=meta
            )
            await self._notify(types.ProgressNotification(params=params))

    async def _log(self, event: Log) -> None:
        line = types.LoggingMessageNotificationParams(level=event.level, data=event.data, logger=event.logger)
        await self._notify(types.LoggingMessageNotification(params=line))

    async def _notify(self, notification: types.ServerNotification | PartialResult) -> None:
        """Send on the stream of the request."""
        sent = cast(types.ServerNotification, notification)  # the SDK sends what it does not know as it is
        await self._request.session.send_notification(sent, self._request.request_id)


def weight(event: Progress | Log | Text) -> int:
    """What an event that waits takes of the room."""
    match event:
        case Text():
            return sum(WEIGHT + len(piece) for piece in event.pieces)
        case Progress():
            return WEIGHT + len(event.message or "")
        case Log():
            return WEIGHT + len(str(event.data))


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
