"""The protocol over HTTP: `/mcp` for both eras, `/sse` with `/messages/` for clients from before 2025."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import mcp_types as types
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, AuthorizationContext
from mcp.server.auth.provider import AccessToken
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from ...errors import NotFound, Unavailable
from ...models import Caller
from .. import BODY_LIMIT
from .door import Door, refusal
from .duplex import checked
from .events import SessionEvents, announces
from .protocol import ProtocolServer

MESSAGES = "/messages/"

RETRY = 1000
"""Milliseconds after which a client whose stream ended early should come back for the rest."""


class Sessions(StreamableHTTPSessionManager):
    """The handshake-era sessions, each with its own events: the SDK would have one store for all of them,
    though it names streams by the ids of requests, which every client counts from 1."""

    def __init__(self, protocol: ProtocolServer) -> None:
        super().__init__(protocol, max_request_body_size=BODY_LIMIT, retry_interval=RETRY)
        self.events: WeakValueDictionary[str, SessionEvents] = WeakValueDictionary()

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        transport = super()._admit_session(requestor)
        if transport is not None and transport.mcp_session_id is not None:
            events = self.events[transport.mcp_session_id] = SessionEvents(self.events)
            transport._event_store = events  # pyright: ignore[reportPrivateUsage]  # no public way in SDK 2.3
        return transport

    async def _discard_session(self, session_id: str, transport: StreamableHTTPServerTransport) -> None:
        if events := self.events.pop(session_id, None):
            events.close()
        await super()._discard_session(session_id, transport)


class StreamableHttp:
    """The ASGI app behind `/mcp`. Answers while it is open; can be opened again after it closed."""

    def __init__(self, protocol: ProtocolServer) -> None:
        self._protocol = protocol
        self._sessions: Sessions | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Serve sessions until the block ends. The SDK's manager runs once only, so each time has its own."""
        sessions = Sessions(self._protocol)
        async with sessions.run():
            self._sessions = sessions
            try:
                yield
            finally:
                self._sessions = None

    def in_flight(self, session: str, request_id: types.RequestId) -> bool:
        """True if the session's client waits for the response to that request, be it without a stream."""
        events = self._sessions and self._sessions.events.get(session)
        return events is not None and events.in_flight(request_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sessions is None:
            raise Unavailable("The server is not running: its lifespan was not entered.")
        scope = owned(scope)
        headers = Headers(scope=scope)
        session, last = headers.get("mcp-session-id", ""), headers.get("last-event-id", "")
        events = self._sessions.events.get(session)
        if scope["method"] != "GET" or events is None:
            await self._sessions.handle_request(scope, receive, send)
        elif last and not events.knows(last):
            await refusal(400, "This session has no such event any more.")(scope, receive, send)
        elif last and not announces(last):
            await self._sessions.handle_request(scope, receive, send)
        else:
            await self._announce(self._sessions, session, scope, receive, send)

    async def _announce(
        self, sessions: Sessions, session: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a session's stream for announcements, and say that it is open while it is."""
        opened = False

        async def notice(message: Message) -> None:
            nonlocal opened
            await send(message)
            if message["type"] == "http.response.start" and message["status"] == 200:
                opened = True  # refused is a second stream of the same session, with 409
                self._protocol.changes.stream_opened(session)

        try:
            await sessions.handle_request(scope, receive, notice)
        finally:
            if opened:
                self._protocol.changes.stream_closed(session)


class Sse:
    """The ASGI app behind `/sse`: an object, not a function, so that Starlette sends no second response."""

    def __init__(self, protocol: ProtocolServer, transport: SseServerTransport) -> None:
        self._protocol = protocol
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            raise HTTPException(405, headers={"Allow": "GET"})
        async with self._transport.connect_sse(owned(scope), receive, send) as streams:
            await self._protocol.run(*checked(streams), self._protocol.create_initialization_options())


class Messages:
    """The ASGI app behind `/messages/`."""

    def __init__(self, transport: SseServerTransport) -> None:
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._transport.handle_post_message(owned(scope), receive, send)


def owned(scope: Scope) -> Scope:
    """The scope with its caller as the SDK knows one: to others their sessions are as if unknown."""
    caller: Caller = scope["state"]["caller"]
    token = AccessToken(token="", client_id=caller.name, scopes=[])
    return {**scope, "user": AuthenticatedUser(token)}


class ToolsetDoor:
    """The ASGI app behind `/mcp/{toolset}`: the same protocol, for one toolset, if there is such a one."""

    def __init__(self, protocol: ProtocolServer, door: Door) -> None:
        self._toolsets = protocol.tools.toolsets
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path_params"]["toolset"]
        if not await self._toolsets.known(name):
            raise NotFound(f"There is no toolset {name[:64]}; a pipeline joins one by its tags.")
        await self._door(scope, receive, send)


def routes(protocol: ProtocolServer, streamable: StreamableHttp) -> list[BaseRoute]:
    """Every path of the protocol; `/mcp` with and without a slash, because a redirect breaks clients."""
    transport = SseServerTransport(MESSAGES, max_request_body_size=BODY_LIMIT)
    door = Door(streamable, streamable.in_flight)
    toolset = ToolsetDoor(protocol, door)
    return [
        Route("/mcp", door),
        Route("/mcp/", door),
        Route("/mcp/{toolset}", toolset),
        Route("/mcp/{toolset}/", toolset),
        Route("/sse", Sse(protocol, transport)),
        Route(MESSAGES, Door(Messages(transport))),
    ]
