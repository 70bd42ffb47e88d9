"""Listing and calling tools: the pipelines' and the management tools."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import mcp_types as types
import orjson
from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from starlette.requests import HTTPConnection

from ...access import sight
from ...access.table import TOOLS
from ...catalog import Serving, Stage
from ...errors import Invalid, NotFound, ServerError
from ...models import Caller, Json, Options
from ...models.meta import WAIT
from ...server import Server
from ..callers import caller_of
from ..management import RUN_PIPELINE, Management
from ..management.search_tools import chosen, missing
from ..management.views import Invocation
from .begun import begun_by
from .eras import Request
from .pages import page
from .patience import patience_of
from .reports import reported
from .results import answer, joined, refused
from .running import Running, Waiting
from .session_tasks import wants_task
from .toolsets import Toolset, Toolsets

PATIENCE = 8.0
"""Seconds a list of tools waits for pipelines that still load; clients give up on a server after 10."""

TIMEOUT = "haystack-mcp-server/timeout"
"""Where a call may say in `_meta` how many seconds it may take."""

KEY = "haystack-mcp-server/idempotency-key"
"""Where a call may say in `_meta` by which key it is known if it is sent again."""
KEY_HEADER = "Idempotency-Key"
"""The same over HTTP, as other APIs have it."""
KEY_LIMIT = 256
HEADER = b'"x-mcp-header"'
"""What a schema holds some of whose arguments are to be repeated in headers, which the SDK compares."""


class Tools:
    """The handlers of `tools/list` and `tools/call`. What they serve depends on the address only."""

    def __init__(self, server: Server, running: Running) -> None:
        self._catalog = server.catalog
        self._management = Management(server)
        self._running = running
        self._deadline = server.settings.soft_deadline
        self.toolsets = Toolsets(server)

    async def list(self, request: Request, params: types.PaginatedRequestParams) -> HandlerResult:
        """One page of the tools, in the order of their names, the management tools last."""
        await self._catalog.ready(PATIENCE)
        tools = [*self.toolsets.view(self.toolset(request), caller_of(request, "mcp")).tools.values()]
        return page("tools", tools, params.cursor)

    async def call(self, request: Request, params: types.CallToolRequestParams) -> HandlerResult:
        """Call a tool. Raises `MCPError` for an unknown one; any other refusal is a result with `isError`."""
        toolset, arguments = self.toolset(request), params.arguments or {}
        try:
            if begun := begun_by(request):
                return await self._run(request, params, params.name, arguments, begun.options)
            if not self._manages(params.name, toolset, caller_of(request, "mcp")):
                return await self._call_pipeline(request, params, toolset, arguments)
            if wants_task(request, params) and params.name != RUN_PIPELINE:
                raise MCPError(types.METHOD_NOT_FOUND, f"{params.name} does not run as a task.")
            self._management.check(params.name, arguments)
            if params.name == RUN_PIPELINE:
                return await self._run_pipeline(request, params, toolset, arguments)
            caller, key = caller_of(request, "mcp"), wanted_key(request)
            view = partial(self.toolsets.view, toolset, caller)
            async with reported(request, params.name) as emit:
                invocation = Invocation(caller, arguments, view, key, emit)
                return answer(await self._management.call(params.name, invocation))
        except ServerError as error:
            if wants_task(request, params):  # its client expects a task, and nothing else
                raise MCPError(types.INVALID_PARAMS, str(error)) from None
            return refused(error)

    def _manages(self, name: str, toolset: Toolset, caller: Caller) -> bool:
        """True if it is a management tool that this caller may call here."""
        return name in self._management and toolset.manages(name) and caller.may(TOOLS[name])

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of a tool in the list at `/mcp`; None for any other.

        What it says of header parameters is enforced, which only a client that saw the list can know.
        """
        tool = self.toolsets.view(self.toolsets.named(None), Caller()).tools.get(name)
        return tool and tool["inputSchema"]

    def plainly(self, name: str, toolset: Toolset) -> Serving | None:
        """The pipeline whose tool any client can call here by its name alone; None if there is more to it."""
        entry = self._catalog.snapshot.entries.get(name)
        if not isinstance(entry, Serving) or not entry.serves or entry.manifest is None:
            return None
        managed = name in self._management and toolset.manages(name)
        reached = toolset.reaches(entry.options) and entry.options.task != "required"
        routed = HEADER in orjson.dumps(entry.manifest.tool["inputSchema"])
        return None if managed or routed or not reached else entry

    async def _call_pipeline(
        self, request: Request, params: types.CallToolRequestParams, toolset: Toolset, arguments: Json
    ) -> HandlerResult:
        """Call the pipeline whose tool was called, listed or not."""
        try:
            options = await self._check(request, params.name, toolset)
        except NotFound:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}") from None
        return await self._run(request, params, params.name, arguments, options)

    async def _run_pipeline(
        self, request: Request, params: types.CallToolRequestParams, toolset: Toolset, arguments: Json
    ) -> HandlerResult:
        """Call the pipeline that the arguments of `run_pipeline` name."""
        version, stage = chosen(arguments)
        options = await self._check(request, arguments["name"], toolset, version, stage)
        inputs = arguments.get("arguments", {})
        return await self._run(request, params, arguments["name"], inputs, options, version, stage)

    async def _check(
        self,
        request: Request,
        name: str,
        toolset: Toolset,
        version: int | None = None,
        stage: Stage | None = None,
    ) -> Options:
        """What the pipeline declares. Raises `NotFound` if it cannot be run here, and as `Catalog.find`."""
        sight.check(caller_of(request, "mcp"), "run", name)
        entry = await self._catalog.find(name, version, stage)
        if not toolset.reaches(entry.options):
            raise missing(name)
        return entry.options

    async def _run(
        self,
        request: Request,
        params: types.CallToolRequestParams,
        name: str,
        inputs: Json,
        options: Options,
        version: int | None = None,
        stage: Stage | None = None,
    ) -> HandlerResult:
        timeout = wanted_timeout(request)
        # a client that says how long the call may take waits that long
        waits = timeout is not None or (request.meta or {}).get(WAIT) is True
        patience = patience_of(request, params, options.task, None if waits else self._deadline)
        try:
            run = await self._running.run(
                request,
                params,
                caller_of(request, "mcp"),
                name,
                inputs,
                timeout=timeout,
                version=version,
                stage=stage,
                key=wanted_key(request),
                patience=patience,
            )
        except Waiting as waiting:
            return waiting.result
        return joined(run)

    def toolset(self, request: Request) -> Toolset:
        """The toolset of the address that this request came to."""
        http = request.request  # None over stdio
        return self.toolsets.named(
            http.path_params.get("toolset") if isinstance(http, HTTPConnection) else None
        )


def wanted_timeout(request: Request) -> float | None:
    """The seconds the caller gives the call, None if it does not say. Raises `Invalid`."""
    match (request.meta or {}).get(TIMEOUT):
        case None:
            return None
        case float() | int() as seconds if not isinstance(seconds, bool) and 0 < seconds < math.inf:
            return seconds
        case _:
            raise Invalid(f"`{TIMEOUT}` in `_meta` must be a number of seconds above 0.")


def wanted_key(request: Request) -> str | None:
    """The idempotency key of the call, from its `_meta` or its HTTP header, None if it has none.

    Raises `Invalid` for a key that is none, and for two that differ.
    """
    http, meta = request.request, (request.meta or {}).get(KEY)
    header = http.headers.get(KEY_HEADER) if isinstance(http, HTTPConnection) else None
    for key, place in ((meta, f"`{KEY}` in `_meta`"), (header, f"The header {KEY_HEADER}")):
        if key is not None and not (isinstance(key, str) and 0 < len(key) <= KEY_LIMIT):
            raise Invalid(f"{place} must be a string of 1 to {KEY_LIMIT} characters.")
    if None not in (meta, header) and meta != header:
        raise Invalid(f"The header {KEY_HEADER} and `{KEY}` in `_meta` differ; give one of them.")
    return header if meta is None else meta
