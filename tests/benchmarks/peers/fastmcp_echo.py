"""FastMCP with one tool."""

from __future__ import annotations

import sys

import uvicorn
from fastmcp import FastMCP

server = FastMCP("fast")


@server.tool
async def echo(text: str) -> str:
    """Echoes."""
    return text


if __name__ == "__main__":
    app = server.http_app()
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_config=None
    )
