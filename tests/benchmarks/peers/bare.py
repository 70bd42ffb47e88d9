"""Starlette alone: reads JSON, writes JSON. What everything else is compared with."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

READY: dict[str, bytes] = {}


async def echo(request: Request) -> Response:
    """Give the text of the call back."""
    message = await request.json()
    content = [{"type": "text", "text": message["params"]["arguments"]["text"]}]
    return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": {"content": content}})


async def written(request: Request) -> Response:
    """Write as many bytes as a file has that was read once: the least that a list can cost."""
    path = sys.argv[2]
    if path not in READY:
        READY[path] = Path(path).read_bytes()
    await request.json()
    return Response(READY[path], media_type="application/json")


app = Starlette(routes=[Route("/mcp", echo, methods=["POST"]), Route("/written", written, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_config=None
    )
