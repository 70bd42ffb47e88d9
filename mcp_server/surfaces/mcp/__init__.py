"""The MCP surface: pipelines and management verbs as tools, on HTTP and on stdio."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ...access import NOBODY
from ...server import Server
from .. import Surface
from ..operations import routes as paths
from .discovery import operations
from .door import Flights
from .express import Express, Judge
from .http import StreamableHttp, routes
from .lane import Lane
from .protocol import ProtocolServer
from .sse import Sse

__all__ = ["ProtocolServer", "surface"]


def surface(server: Server) -> Surface:
    """The protocol over HTTP; its lifespan needs `server` to be open."""
    protocol = ProtocolServer(server, NOBODY)
    streamable = StreamableHttp(protocol)
    sse = Sse(protocol, streamable.room)
    server.access.keyring.gone.append(streamable.room.end_of)

    @asynccontextmanager
    async def lifespan() -> AsyncGenerator[None]:
        async with protocol.announcing(), streamable.open():
            try:
                yield
            finally:
                protocol.changes.close()

    flights: Flights = {}
    own = routes(protocol, streamable, sse, flights, paths(operations(server, protocol.tools)))
    lane = Lane(server, protocol, flights, streamable)
    fast = server.settings.express and not server.settings.otlp_endpoint  # the SDK makes the spans
    express = (
        functools.partial(Express, lane=lane, judge=Judge(server.access, server.rates)) if fast else None
    )
    return Surface(own, lifespan, protocol.changes.close, sse.calls, express=express)
