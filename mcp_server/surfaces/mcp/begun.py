"""A run that the express lane began, and the way of it to the SDK's handler should it not end at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from starlette.requests import HTTPConnection
from starlette.types import Scope

from ...errors import Conflict
from ...limits.deadlines import Deadlines
from ...models import Answers, Emit, Event, Notice, Options, Question, Run
from ...runs import Live
from .eras import Request

KEY = "mcp_server.begun"
"""Where the state of an HTTP request holds it."""


class Begun:
    """Made before its run, whose listener it is until a handler takes it."""

    cancelled = False
    """True once the client cancelled its request."""
    abandoned = False
    """True once nobody waits for an answer."""
    when: float | None = None
    starting: asyncio.Task[None] | None = None
    """While something has to be waited for before it begins."""
    _is_taken = False
    _taken: asyncio.Future[Emit] | None = None
    """While what it asked may wait for a handler."""
    _deadlines: Deadlines | None = None
    _live: Live | None = None

    def __init__(self, options: Options, turned: Callable[[Begun], None]) -> None:
        """`turned` is told once: that the run has ended, asks, or takes long, or that its request is over."""
        self.options = options
        """What the pipeline declares."""
        self._turned: Callable[[Begun], None] | None = turned

    @property
    def run(self) -> Run:
        """The run as it is."""
        assert self._live is not None, "it was begun"
        return self._live.run

    def began(self, live: Live, within: float, deadlines: Deadlines) -> None:
        """Watch the run for so many seconds."""
        self._live, self._deadlines = live, deadlines
        deadlines.add(self, within)
        live.when_ended(self._turn)

    def pass_by(self) -> None:
        """It takes long."""
        self._turn()

    async def hear(self, event: Event) -> Answers | None:
        """What the run says: nobody asked to hear more than its questions, which wait for a handler."""
        if not isinstance(event, Question | Notice):
            return None
        self._turn()
        self._taken = self._taken or asyncio.get_running_loop().create_future()
        listener = await asyncio.shield(self._taken)
        return await listener(event)

    def cancel(self) -> None:
        """The client cancels its request: the run stops."""
        self.cancelled = True
        self._stop()
        self._turn()

    def abandon(self) -> None:
        """The client has left: the run stops."""
        self.abandoned = True
        self._stop()
        self._turn()

    def take(self, listener: Emit) -> Live:
        """Listen to the run from here on, with what it asked already. Raises `Conflict` if it is too late."""
        if self._live is None:
            raise Conflict("The request that began this run is over.")
        self._live.listener, self._is_taken = listener, True
        self._taken = self._taken or asyncio.get_running_loop().create_future()
        self._taken.set_result(listener)
        return self._live

    def leave(self) -> None:
        """The request it was handed over with is over: a run that no handler took stops."""
        if not self._is_taken:
            self._stop()
        self._live = self._taken = None  # the connection remembers its latest request, and thereby this

    def _stop(self) -> None:
        if self.starting is not None:
            self.starting.cancel()
        if self._live is not None and not self._live.lasting:
            self._live.cancel()

    def _turn(self, _: object = None) -> None:
        turned, self._turned = self._turned, None
        if self._deadlines is not None:
            self._deadlines.drop(self)
        if turned is not None:
            turned(self)


def hand_over(begun: Begun, scope: Scope) -> None:
    """Let the handler of this request take the run; `release` has to be called when the request is over."""
    scope["state"][KEY] = begun


def release(scope: Scope) -> None:
    """This request is over: should a run have been handed over with it that nobody took, it stops."""
    if (begun := cast(Begun | None, scope["state"].get(KEY))) is not None:
        begun.leave()


def has_begun(scope: Scope) -> bool:
    """True if a run was handed over with this request."""
    return KEY in scope["state"]


def begun_by(request: Request) -> Begun | None:
    """The run that was begun for this request; None if there is none."""
    http = request.request  # None over stdio
    return cast(Begun | None, http.scope["state"].get(KEY)) if isinstance(http, HTTPConnection) else None
