"""The protocol as it was before 2025: a stream for all the server says, and posts for what clients say."""

from __future__ import annotations

import math
from weakref import WeakSet

import anyio
from anyio import CancelScope
from mcp.server.sse import SseServerTransport
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from ..quotas import owner_of
from .duplex import Answers, checked
from .protocol import ProtocolServer
from .sessions import Room, Session, owned

MESSAGES = "/messages/"


class Sse:
    """The ASGI app behind `/sse`: an object, not a function, so that Starlette sends no second response."""

    def __init__(self, protocol: ProtocolServer, room: Room) -> None:
        self._protocol = protocol
        self._limits = protocol.settings
        self._room = room
        self._transport = SseServerTransport(
            MESSAGES, max_request_body_size=self._limits.deploy_limit + self._limits.body_limit
        )
        self._answers: WeakSet[Answers] = WeakSet()

    async def post(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app behind `/messages/`."""
        await self._transport.handle_post_message(owned(scope), receive, send)

    def calls(self) -> int:
        """Requests that are not answered yet: what posted them was answered at once."""
        return sum(len(each.awaited) for each in self._answers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            raise HTTPException(405, headers={"Allow": "GET"})
        owner = owner_of(scope)
        with self._protocol.streams.held(owner), CancelScope() as ending:
            await self._serve(owner, ending, scope, receive, send)

    async def _serve(
        self, owner: str | None, ending: CancelScope, scope: Scope, receive: Receive, send: Send
    ) -> None:
        def hear() -> None:
            session.hear()
            if session.is_used:
                ending.deadline = math.inf

        answers: Answers | None = None
        session = Session(owner, lambda: bool(answers and answers.awaited), ending.cancel, messages=0)
        self._room.admit(session)
        ending.deadline = anyio.current_time() + self._limits.session_unused
        try:
            async with self._transport.connect_sse(owned(scope), receive, send) as streams:
                messages, answers = checked(streams, hear)
                self._answers.add(answers)
                await self._protocol.run(messages, answers, self._protocol.create_initialization_options())
        finally:
            self._room.leave(session)
