"""`GET /runs/{run_id}/events`: what a run says, as server-sent events that can be taken up after a break.

Each event has its number as id; a client that comes back sends the last one as `Last-Event-ID`, as browsers
do by themselves, and gets what came since. Only so many are kept (`runs.trail`), older ones are left out.
What a run asks is a `question`, and with the answer the stream goes on. The last event is `end`, with the run
as `GET /runs/{run_id}` shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from weakref import WeakSet

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ...errors import Invalid, NotFound
from ...models import Question, Run
from ...runs import Live
from ...runs.past import LOOK
from ...runs.trail import Trail, hour
from ...server import Server
from ..callers import caller_of
from ..management.run_views import detailed
from ..operations import Operation
from ..sse import beat, event
from .answers import RUN_ID, SILENCE

EVENTS = "text/event-stream"
LAST = "Last-Event-ID"
HIDDEN = {"kind", "mark", "given"}
"""What an event does not tell of itself."""


class Following:
    """The streams that clients hold open."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._runs = server.runs
        self._followed: WeakSet[Trail] = WeakSet()

    def operation(self) -> Operation:
        """The one route."""
        number = {"type": "string", "pattern": "^[0-9]{1,15}$", "description": "The last event you had."}
        path = "/runs/{run_id}/events"
        return Operation("GET", path, self.events, "Follow a run", headers={LAST: number}, media=(EVENTS,))

    def close(self) -> None:
        """End the streams: a server that stops would wait for them. Clients come back for the rest."""
        for trail in [*self._followed]:
            trail.end()

    async def events(self, request: Request) -> Response:
        """The events of a run until its end; 204 for a client that had them all, so that it stays away."""
        caller, after = caller_of(request, "rest"), last_event(request)
        run = await self._runs.past.run(caller, request.path_params["run_id"])
        live = self._live(run)
        if run.ended and after > (live.trail.last if live else hour(run)):
            return Response(status_code=204)
        headers = {RUN_ID: run.id, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response(media_type=EVENTS, headers=headers)
        return StreamingResponse(self._told(run, after), media_type=EVENTS, headers=headers)

    def _live(self, run: Run) -> Live | None:
        """The run if this process knows it; None if it ended long ago, is elsewhere, or waits as a row."""
        try:
            return self._runs.find(run.caller, run.id)
        except NotFound:
            return None

    async def _told(self, run: Run, after: int) -> AsyncGenerator[bytes]:
        """Life by life: a run that waits as a row goes on with its answer, here or on another server."""
        asked = None
        while True:
            live = self._live(run)
            trail = live.trail if live else Trail(max(after, hour(run)))
            if live is None and run.question and run.question.number != asked:
                trail.add(run.question)
            moving = None if live else asyncio.create_task(self._moved(run))
            if moving:
                moving.add_done_callback(lambda _, trail=trail: trail.end())
            self._followed.add(trail)
            try:
                async for said in trail.follow(after, SILENCE):
                    if said is None:
                        yield beat()
                        continue
                    after, told = said
                    asked = told.number if isinstance(told, Question) else asked
                    yield event(told.kind, told.model_dump(mode="json", exclude=HIDDEN), str(after))
            finally:
                if moving:
                    moving.cancel()
            run = live.run if live else await self._runs.past.run(run.caller, run.id)
            if run.ended:
                last = trail.last if live else max(trail.last, hour(run))
                yield event("end", detailed(run), str(last + 1))
            if run.ended or self._server.stopping:
                return

    async def _moved(self, run: Run) -> None:
        """Wait until a run that does not go on here does, has ended, or asks something else."""
        asked = run.question and run.question.number
        while not run.ended and self._live(run) is None and (run.question and run.question.number) == asked:
            await asyncio.sleep(LOOK)
            run = await self._runs.past.run(run.caller, run.id)


def last_event(request: Request) -> int:
    """The number of the last event that the client had; 0 if it had none. Raises `Invalid`."""
    text = request.headers.get(LAST, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Invalid(f"`{LAST}` must be the id of an event of this run.")
    return int(text)
