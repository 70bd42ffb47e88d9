"""`GET /mcp/health` and `GET /mcp/tools`: the MCP surface, for who does not speak MCP."""

from __future__ import annotations

from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response

from ...server import Server
from ..callers import caller_of
from ..operations import OBJECT, TEXT, Operation, as_json, gives
from .protocol import NAME
from .tools import PATIENCE, Tools


def operations(server: Server, tools: Tools) -> tuple[Operation, ...]:
    """The two routes."""

    async def health(request: Request) -> Response:
        return as_json({"status": "healthy", "version": version(NAME)})

    async def listed(request: Request) -> Response:
        await server.catalog.ready(PATIENCE)
        view = tools.toolsets.view(tools.toolsets.named(None), caller_of(request, "mcp"))
        return as_json({"tools": [*view.tools.values()]})

    healthy, many = gives(status=TEXT, version=TEXT), gives(tools={"type": "array", "items": OBJECT})
    return (
        Operation("GET", "/mcp/health", health, "Whether MCP is served", answer=healthy),
        Operation("GET", "/mcp/tools", listed, "The tools that /mcp lists", answer=many),
    )
