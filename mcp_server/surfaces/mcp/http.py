"""The protocol over HTTP: `/mcp` for both eras, `/sse` with `/messages/` for clients from before 2025."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import anyio
import mcp_types as types
from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from ...errors import NotFound, Unavailable
from ...models import Caller
from ..quotas import owner_of
from .door import Door, Flights, refusal, unavailable
from .eras import admits
from .events import SessionEvents, announces
from .protocol import ProtocolServer
from .sessions import Room, Session, owned
from .sse import MESSAGES, Sse
from .step_up import stepping_up

RETRY = 1000
"""Milliseconds after which a client whose stream ended early should come back for the rest."""


class Sessions(StreamableHTTPSessionManager):
    """The handshake-era sessions, each with its own events: the SDK would have one store for all of them,
    though it names streams by the ids of requests, which every client counts from 1. And it would refuse new
    ones where we end old ones."""

    def __init__(self, protocol: ProtocolServer, room: Room) -> None:
        self._limits = limits = protocol.settings
        super().__init__(
            protocol,
            max_request_body_size=limits.deploy_limit + limits.body_limit,  # the door knows better
            retry_interval=RETRY,
            session_idle_timeout=limits.session_unused,
            max_sessions=None,
        )
        self._room = room
        self._open: dict[str, Session] = {}
        self.events: WeakValueDictionary[str, SessionEvents] = WeakValueDictionary()

    def hear(self, session_id: str) -> None:
        """A client sent something in its session; once it uses it, it may be idle for longer."""
        if (session := self._open.get(session_id)) and (transport := self._server_instances.get(session_id)):
            session.hear()
            if session.is_used:
                transport._idle_timeout = self._limits.session_idle  # pyright: ignore[reportPrivateUsage]  # as below

    def _admit_session(self, requestor: AuthorizationContext | None) -> StreamableHTTPServerTransport | None:
        transport = super()._admit_session(requestor)
        if transport is not None and transport.mcp_session_id is not None:
            events = self.events[transport.mcp_session_id] = SessionEvents(self.events)
            transport._event_store = events  # pyright: ignore[reportPrivateUsage]  # no public way in SDK 2.3
        return transport

    async def _serve_opening_request(
        self, http_transport: StreamableHTTPServerTransport, scope: Scope, receive: Receive, send: Send
    ) -> None:
        identity = http_transport.mcp_session_id or ""

        def is_busy() -> bool:
            idle, events = http_transport.idle_scope, self.events.get(identity)
            return idle is None or idle.deadline == math.inf or (events is not None and events.is_awaited)

        def end() -> None:
            self._server_instances.pop(identity, None)
            if http_transport.idle_scope is not None:
                http_transport.idle_scope.cancel()

        session = Session(owner_of(scope), is_busy, end)
        try:
            self._room.admit(session)
        except Unavailable as refused:
            await self._discard_session(identity, http_transport)
            await unavailable(str(refused))(scope, receive, send)
        else:
            self._open[identity] = session
            await super()._serve_opening_request(http_transport, scope, receive, send)

    def of(self, caller: str, session: str) -> SessionEvents | None:
        """The events of a session that is this caller's; None for any other."""
        owner = self._session_owners.get(session)
        return self.events.get(session) if owner and owner["client_id"] == caller else None

    async def _discard_session(self, session_id: str, transport: StreamableHTTPServerTransport) -> None:
        if session := self._open.pop(session_id, None):
            self._room.leave(session)
        if events := self.events.pop(session_id, None):
            events.close()
        await super()._discard_session(session_id, transport)


class StreamableHttp:
    """The ASGI app behind `/mcp`. Answers while it is open; can be opened again after it closed."""

    def __init__(self, protocol: ProtocolServer) -> None:
        self._protocol = protocol
        self.room = Room(protocol.settings)
        self._sessions: Sessions | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Serve sessions until the block ends. The SDK's manager runs once only, so each time has its own."""
        sessions, self._time = Sessions(self._protocol, self.room), asyncio.get_running_loop().time
        async with sessions.run(), anyio.create_task_group() as tasks:
            tasks.start_soon(self.room.age)
            self._sessions = sessions
            try:
                yield
            finally:
                self._sessions = None
                tasks.cancel_scope.cancel()

    def in_flight(self, caller: str, session: str, request_id: types.RequestId) -> bool:
        """True if the session's client waits for the response to that request, be it without a stream."""
        events = self._sessions and self._sessions.of(caller, session)
        return events is not None and events.in_flight(request_id)

    def admits(self, session: str, caller: Caller) -> bool:
        """True if this is an open session of the caller, which then counts as used."""
        if self._sessions is None or not admits(self._sessions, session, caller, self._time()):
            return False
        self._sessions.hear(session)
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sessions is None:
            raise Unavailable("The server is not running: its lifespan was not entered.")
        scope = owned(scope)
        headers = Headers(scope=scope)
        session, last = headers.get("mcp-session-id", ""), headers.get("last-event-id", "")
        events = self._sessions.of(scope["state"]["caller"].name, session)
        if events is not None:
            self._sessions.hear(session)
        if scope["method"] != "GET" or events is None:
            await self._sessions.handle_request(scope, receive, send)
        elif last and not events.knows(last):
            await refusal(400, "This session has no such event any more.")(scope, receive, send)
        elif last and not announces(last):
            await self._sessions.handle_request(scope, receive, send)
        else:
            try:
                with self._protocol.streams.held(owner_of(scope)):
                    await self._announce(self._sessions, session, scope, receive, send)
            except Unavailable as refused:
                await unavailable(str(refused))(scope, receive, send)

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


class ToolsetDoor:
    """The ASGI app behind `/mcp/{toolset}`: the same protocol, for one toolset, if there is such a one."""

    def __init__(self, protocol: ProtocolServer, door: Door) -> None:
        self._toolsets = protocol.tools.toolsets
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path_params"]["toolset"]
        if not await self._toolsets.known(name, scope["state"]["caller"]):
            raise NotFound(f"There is no toolset {name[:64]}; a pipeline joins one by its tags.")
        await self._door(scope, receive, send)


def routes(
    protocol: ProtocolServer,
    streamable: StreamableHttp,
    sse: Sse,
    flights: Flights,
    beside: Sequence[BaseRoute],
) -> list[BaseRoute]:
    """Every path of the protocol; `/mcp` with and without a slash, because a redirect breaks clients.

    `flights` are the requests that are being served, `beside` other routes below `/mcp`. The paths that are
    asked for most come first.
    """
    server = protocol.server
    door = Door(streamable, server, streamable.in_flight, stepping_up, flights)
    toolset = ToolsetDoor(protocol, door)
    return [
        Route("/mcp", door),
        Route("/mcp/", door),
        *beside,
        Route("/mcp/{toolset}", toolset),
        Route("/mcp/{toolset}/", toolset),
        Route("/sse", sse),
        Route(MESSAGES, Door(sse.post, server, judge=stepping_up)),
    ]
