"""The protocol over HTTP: `/mcp` for both eras, `/sse` with `/messages/` for clients from before 2025."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from ...errors import Unavailable
from .. import BODY_LIMIT
from .door import Door
from .protocol import ProtocolServer

MESSAGES = "/messages/"


class StreamableHttp:
    """The ASGI app behind `/mcp`. Answers while it is open; can be opened again after it closed."""

    def __init__(self, protocol: ProtocolServer) -> None:
        self._protocol = protocol
        self._manager: StreamableHTTPSessionManager | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Serve sessions until the block ends. The SDK's manager runs once only, so each time has its own."""
        manager = StreamableHTTPSessionManager(self._protocol, max_request_body_size=BODY_LIMIT)
        async with manager.run():
            self._manager = manager
            try:
                yield
            finally:
                self._manager = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._manager is None:
            raise Unavailable("The server is not running: its lifespan was not entered.")
        session = dict(scope["headers"]).get(b"mcp-session-id", b"").decode("latin-1")
        if scope["method"] == "GET" and session:
            await self._announce(session, scope, receive, send)
        else:
            await self._manager.handle_request(scope, receive, send)

    async def _announce(self, session: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a session's stream for announcements, and say that it is open while it is."""
        assert self._manager is not None
        opened = False

        async def notice(message: Message) -> None:
            nonlocal opened
            await send(message)
            if message["type"] == "http.response.start" and message["status"] == 200:
                opened = True  # refused is a second stream of the same session, with 409
                self._protocol.changes.stream_opened(session)

        try:
            await self._manager.handle_request(scope, receive, notice)
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
        async with self._transport.connect_sse(scope, receive, send) as streams:
            await self._protocol.run(*streams, self._protocol.create_initialization_options())


def routes(protocol: ProtocolServer, streamable: StreamableHttp) -> list[BaseRoute]:
    """Every path of the protocol; `/mcp` with and without a slash, because a redirect breaks clients."""
    transport = SseServerTransport(MESSAGES, max_request_body_size=BODY_LIMIT)
    door = Door(streamable)
    return [
        Route("/mcp", door),
        Route("/mcp/", door),
        Route("/sse", Sse(protocol, transport)),
        Route(MESSAGES, Door(transport.handle_post_message)),
    ]
