"""The SDK's high-level server with one tool."""

from __future__ import annotations

import sys

import uvicorn
from mcp.server import MCPServer

server = MCPServer("high", log_level="ERROR")


@server.tool()
async def echo(text: str) -> str:
    """Echoes."""
    return text


if __name__ == "__main__":
    app = server.streamable_http_app()
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_config=None
    )
