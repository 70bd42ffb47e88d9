"""The SDK's low-level server with one tool, set up as well as it can be."""

from __future__ import annotations

import sys
from typing import Any

import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server

SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}


async def tools(context: ServerRequestContext[Any, Any], params: object) -> types.ListToolsResult:
    """The list."""
    return types.ListToolsResult(tools=[types.Tool(name="echo", description="Echoes.", input_schema=SCHEMA)])


async def call(
    context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    """The call."""
    text = (params.arguments or {})["text"]
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


server: Server[Any] = Server(
    "low", on_list_tools=tools, on_call_tool=call, get_tool_input_schema=lambda name: SCHEMA
)

if __name__ == "__main__":
    app = server.streamable_http_app()
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_config=None
    )
