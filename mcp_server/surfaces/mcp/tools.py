"""Listing and calling tools: the pipelines' and the management verbs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import mcp_types as types
import orjson
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError

from ...catalog.entries import Entry
from ...errors import Invalid, NotFound, ServerError
from ...models import Caller, Json, Run
from ...server import Server
from .eras import Request
from .manage import TOOLS, Management
from .running import Running, Waiting, blocks

PATIENCE = 8.0
"""Seconds a list of tools waits for pipelines that still load; clients give up on a server after 10."""

PAGE = 1000
"""Tools per page of a list."""

VERSION = "haystack-mcp-server/version"
"""Where a tool says in `_meta` which version of its pipeline serves."""

RUN = "haystack-mcp-server/run"
"""Where a result says in `_meta` which run of which version it comes from."""


TIMEOUT = "haystack-mcp-server/timeout"
"""Where a call may say in `_meta` how many seconds it may take."""


class Tools:
    """The handlers of `tools/list` and `tools/call`."""

    def __init__(self, server: Server, running: Running) -> None:
        self._server = server
        self._management = Management(server)
        self._running = running
        self._seen: object = None
        self._tools: dict[str, Json] = {}

    async def list(self, request: Request, params: types.PaginatedRequestParams) -> HandlerResult:
        """One page of the tools, in the order of their names, the management tools last.

        It may not be cached: a client that listens hears of changes, one that does not would miss them.
        """
        await self._server.catalog.ready(PATIENCE)
        tools = [*self._current().values()]
        start = page_start(params.cursor, len(tools))
        page: Json = {"tools": tools[start : start + PAGE], "ttlMs": 0, "cacheScope": "public"}
        if start + PAGE < len(tools):
            page["nextCursor"] = str(start + PAGE)
        return page | {"resultType": "complete"}

    async def call(self, request: Request, params: types.CallToolRequestParams) -> HandlerResult:
        """Call a tool. Raises `MCPError` for an unknown one; any other refusal is a result with `isError`."""
        caller, arguments = Caller(origin="mcp"), params.arguments or {}
        try:
            if params.name in self._management.verbs:
                return answer(await self._management.call(params.name, caller, arguments))
            return await self._run(request, params, caller, arguments)
        except ServerError as error:
            return failure(str(error))

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of a tool, None if there is no such tool now."""
        tool = self._current().get(name)
        return tool and tool["inputSchema"]

    async def _run(
        self, request: Request, params: types.CallToolRequestParams, caller: Caller, arguments: Json
    ) -> HandlerResult:
        try:
            if (await self._server.catalog.find(params.name)).options.hidden:
                raise NotFound
        except NotFound:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}") from None
        try:
            timeout = wanted_timeout(request)
            run = await self._running.run(request, params, caller, params.name, arguments, timeout=timeout)
        except Waiting as waiting:
            return waiting.result
        return joined(run)

    def _current(self) -> dict[str, Json]:
        """The tools by name, made once per snapshot of the catalog."""
        snapshot = self._server.catalog.snapshot
        if snapshot is not self._seen:
            self._seen = snapshot
            pipelines = (described(snapshot.entries[tool["name"]], tool) for tool in snapshot.tools)
            self._tools = {tool["name"]: tool for tool in (*pipelines, *TOOLS)}
        return self._tools


def page_start(cursor: str | None, total: int) -> int:
    """Where the page begins. Raises `MCPError` for a cursor we did not give (MCP, utilities/pagination)."""
    if cursor is None:
        return 0
    start = int(cursor) if cursor.isascii() and cursor.isdecimal() and len(cursor) < 10 else -1
    if start not in range(PAGE, total, PAGE):
        raise MCPError(types.INVALID_PARAMS, "Unknown cursor; list again from the start.")
    return start


def wanted_timeout(request: Request) -> float | None:
    """The seconds the caller gives the call, None if it does not say. Raises `Invalid`."""
    match (request.meta or {}).get(TIMEOUT):
        case None:
            return None
        case float() | int() as seconds if not isinstance(seconds, bool) and 0 < seconds < math.inf:
            return seconds
        case _:
            raise Invalid(f"`{TIMEOUT}` in `_meta` must be a number of seconds above 0.")


def described(entry: Entry, tool: Json) -> Json:
    """The tool with the version it belongs to."""
    assert entry.version is not None, "a tool comes from a version"
    version = {"number": entry.version.number, "digest": entry.version.digest}
    return {**tool, "_meta": {**tool.get("_meta", {}), VERSION: version}}


def joined(run: Run) -> Json:
    """The result of a run, as the host rendered it."""
    assert run.result is not None, "an ended run has a result"
    result: Json = {
        "content": blocks(run),
        "isError": run.result.is_error,
        "_meta": {RUN: {"id": run.id, "version": run.version, "digest": run.digest}},
        "resultType": "complete",
    }
    if run.result.structured is not None:
        result["structuredContent"] = orjson.loads(run.result.structured)
    return result


def answer(structured: Json) -> Json:
    """A result with structured content, and the same as text for clients that show nothing else."""
    text = {"type": "text", "text": orjson.dumps(structured).decode()}
    return {"content": [text], "structuredContent": structured, "isError": False, "resultType": "complete"}


def failure(text: str) -> Json:
    """A result that says what to change; `resultType` is for the modern era, the older one leaves it out."""
    return {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete"}
