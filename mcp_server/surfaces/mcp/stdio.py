"""The protocol on stdin and stdout."""

from __future__ import annotations

from mcp.server.stdio import stdio_server

from ...server import Server
from .duplex import checked
from .protocol import ProtocolServer


async def serve_stdio(server: Server) -> None:
    """Serve one client until it closes stdin; opens `server` and closes it again.

    The transport takes both streams for itself before anything of `server` starts, so what pipelines,
    libraries and worker processes print goes to stderr.
    """
    protocol = ProtocolServer(server)
    async with stdio_server() as streams, server, protocol.announcing():
        await protocol.run(*checked(streams), protocol.create_initialization_options())
