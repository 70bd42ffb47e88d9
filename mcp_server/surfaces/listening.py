"""A run for one HTTP request: begun, heard while it goes, stopped when its client leaves.

heard = await listen(server.runs, request, partial(server.runs.start, caller, name, inputs))
question = await heard.end()                          # either the end,
async for event in heard: …                           # or every event on the way there;
return Stream(heard, pieces(heard), "text/plain")     # a response in pieces closes it by itself
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..models import Answers, Event, Notice, Question, Run
from ..runs import Live, Runs, ignore

AHEAD = 64
"""Events that may wait for a slow client; behind them the run waits too."""


async def listen(
    runs: Runs, request: Request, begin: Callable[..., Awaitable[Live]], within: float | None = None
) -> Listening:
    """Begin a run by `begin`, which is `Runs.start` but for its listener; raises what that raises.

    The body of the request must have been read. A run that takes longer than `within` seconds goes on
    without its client (`Runs.attend`).
    """
    heard = Listening()
    try:
        live = await begin(listener=heard.hear)
    except BaseException:
        heard.discard()
        raise
    heard.attend(runs, live, request, within)
    return heard


class Listening:
    """The events of a run in order, as an async iterator that ends when nothing more is to be waited for.

    That is the run's end; a question, which its client has to answer by another request; or the deadline.
    `run` and `question` tell which. When the client leaves, the run is cancelled unless it lasts without
    its caller, and whoever iterates or waits gets `ClientDisconnect`, also before the first byte was sent.
    A run that was begun before, by the same idempotency key, has its end but no events here.
    """

    live: Live
    """The run itself."""
    _attending: asyncio.Task[Question | None]
    _watching: asyncio.Task[None]

    def __init__(self) -> None:
        self._said, self._heard = anyio.create_memory_object_stream[Event](AHEAD)
        self._left = False

    @property
    def run(self) -> Run:
        """The run as it is now."""
        return self.live.run

    @property
    def question(self) -> Question | None:
        """What it asks, if it waits for an answer."""
        return self.live.question

    async def with_beats(self, seconds: float) -> AsyncGenerator[Event | None]:
        """Its events, and None for each so many seconds of silence."""
        while True:
            event = None
            try:
                with anyio.move_on_after(seconds):
                    event = await self.__anext__()
            except StopAsyncIteration:
                return
            yield event

    async def end(self) -> Question | None:
        """Wait until nothing more is to be waited for, passing over events; the question if there is one."""
        self._heard.close()
        try:
            await asyncio.wait([self._attending])
            return self._came_to()
        finally:
            self.close()

    def __aiter__(self) -> Listening:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._heard.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            self._came_to()
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Listen no more; a run that has not ended and does not last without its caller is cancelled."""
        self._watching.cancel()
        self._attending.cancel()
        self._heard.close()

    def discard(self) -> None:
        """Nothing was begun."""
        self._said.close()
        self._heard.close()

    def attend(self, runs: Runs, live: Live, request: Request, within: float | None) -> None:
        """Watch over the run from now on, and over its client."""
        self.live = live
        self._attending = asyncio.create_task(runs.attend(live, within))
        self._attending.add_done_callback(self._leave)
        self._watching = asyncio.create_task(self._watch(request))

    async def hear(self, event: Event) -> Answers | None:
        """Take an event; waits while many are not read. Questions are left to be answered otherwise."""
        if not isinstance(event, Question | Notice):
            with suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):  # nobody listens any more
                await self._said.send(event)
        return None

    async def _watch(self, request: Request) -> None:
        """Wait until the client leaves; HTTP servers say so too once the response is complete."""
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._left = not self._attending.done()
        self.close()

    def _leave(self, attending: asyncio.Task[Question | None]) -> None:
        if self.live.listener == self.hear:
            self.live.listener = ignore
        self._said.close()

    def _came_to(self) -> Question | None:
        if self._left:
            raise ClientDisconnect
        return None if self._attending.cancelled() else self._attending.result()


class Stream(Response):
    """A response in pieces, sent as they come. Whatever happens, the run is listened to no longer then."""

    def __init__(
        self,
        heard: Listening,
        pieces: AsyncGenerator[bytes],
        media_type: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`pieces` iterates over `heard`, and lets `ClientDisconnect` pass."""
        self._heard = heard
        self._pieces = pieces
        self.status_code = 200
        self.media_type = media_type
        self.background = None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            with suppress(ClientDisconnect):
                async for piece in self._pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._heard.close()
            await self._pieces.aclose()
