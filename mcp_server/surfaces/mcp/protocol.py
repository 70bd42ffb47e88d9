"""The protocol server: one object of the SDK's low-level `Server` behind every transport and both eras."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from typing import Any
from weakref import WeakValueDictionary

import anyio
import mcp_types as types
from mcp.server._otel import OpenTelemetryMiddleware
from mcp.server.caching import CacheHint
from mcp.server.connection import Connection
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel import NotificationOptions
from mcp.server.lowlevel import Server as LowLevelServer
from mcp.server.models import InitializationOptions
from mcp.shared.exceptions import MCPError
from mcp_types.methods import INPUT_REQUIRED_METHODS
from pydantic import ValidationError

from ...models import Caller
from ...server import Server
from ..management import TOOLS
from ..quotas import Quota
from .cards import RUN, Cards
from .changes import Changes
from .completions import Completions
from .eras import Request, by_era, connection
from .measuring import Measuring
from .partial import note_capability
from .prompts import Prompts
from .published import Published
from .reports import set_level
from .resources import Resources
from .running import Running
from .sealing import KeptCodec, Sealed
from .session_tasks import CAPABILITY, SessionTasks, unpacked
from .tasks import EXTENSION, TaskParams, Tasks, UpdateParams
from .tools import Tools

NAME = "haystack-mcp-server"
SECRET = "request-state.key"
"""The file in the state folder with what seals `requestState`."""
INSTRUCTIONS = """\
The tools are Haystack pipelines: programs that search, generate or transform, put here by the operator or \
by deploy_pipeline. Results carry structured content that fits the tool's output schema, and the same as text.
When pipelines are many they are not in the list: search_pipelines finds them by words, describe_pipeline \
tells what one takes and gives an example, run_pipeline runs it by name and answers as its own tool would. \
run_pipeline also runs what was deployed since the list was read.
Pipelines can appear, change and vanish while you are connected. get_all_pipeline_statuses names them all, \
also those that do not load, with the reason. The answer to deploy_pipeline says how to call the new one.
A pipeline may take long, or ask before it goes on. If the result names a run that waits or goes on, get_run \
follows it, answer_run answers what it asks and cancel_run stops it.
The resource pipeline://NAME is the card of a pipeline: what it takes and gives, and how it is doing. The \
prompt write_pipeline teaches how to write and deploy one.
A result marked as an error says what to change: the argument's name and what was expected."""

log = logging.getLogger(__name__)


class ProtocolServer(LowLevelServer[Any]):
    """Serves tools, announces changes, and lets nothing a request does end more than that request."""

    def __init__(self, server: Server, parent: Caller | None = None) -> None:
        """`parent` calls where no HTTP request says who does. Default: whoever started the server."""
        self.server = server
        self.settings = server.settings
        self.streams = Quota("streams", self.settings.max_streams, self.settings.max_streams_per_caller)
        self.changes = Changes(self.streams)
        self.connections: WeakValueDictionary[str, Connection] = WeakValueDictionary()
        """The sessions over HTTP that have begun, by their ids."""
        self._catalog = server.catalog
        server.runs.turned = self._turned
        server.runs.noticed = self.changes.announce
        server.stepwise.watch(self._turned)
        running = Running(server)
        self.tools = tools = Tools(server, running)
        self._published = Published(server, running, tools.toolset)
        super().__init__(
            NAME,
            version=version(NAME),
            title="Haystack pipelines",
            instructions=INSTRUCTIONS,
            lifespan=partial(calling, parent or server.access.owner),
            cache_hints={"server/discover": CacheHint(60_000, "public")},
            get_tool_input_schema=tools.input_schema,  # or the SDK walks tools/list on every modern call
        )
        self.add_request_handler("tools/list", types.PaginatedRequestParams, tools.list)
        self.add_request_handler("tools/call", types.CallToolRequestParams, tools.call)
        self.add_request_handler("logging/setLevel", types.SetLevelRequestParams, set_level)
        self._publish(Cards(server))
        self._offer(Tasks(server), SessionTasks(server))
        shared = server.history if self.settings.store else None
        self._codec = KeptCodec(self.settings.state_folder() / SECRET, shared)
        self.middleware.clear()  # the SDK's spans cost a tenth of a call, be they sent anywhere or not
        if server.settings.otlp_endpoint:
            self.middleware.extend((Measuring(server, self._serves), OpenTelemetryMiddleware()))
        self.middleware.extend((contain, self._admit, Sealed(NAME, self._codec), unpacked))

    def _publish(self, cards: Cards) -> None:
        """Handle what is about resources, prompts and completions."""
        resources, prompts = Resources(self._published, cards, self.changes), Prompts(self._published)
        completions, handle = Completions(self._published, cards), self.add_request_handler
        handle("resources/list", types.PaginatedRequestParams, resources.list)
        handle("resources/templates/list", types.PaginatedRequestParams, resources.templates)
        handle("resources/read", types.ReadResourceRequestParams, resources.read)
        handle("resources/subscribe", types.SubscribeRequestParams, resources.subscribe)
        handle("subscriptions/listen", types.SubscriptionsListenRequestParams, resources.listen)
        handle("resources/unsubscribe", types.UnsubscribeRequestParams, resources.unsubscribe)
        handle("prompts/list", types.PaginatedRequestParams, prompts.list)
        handle("prompts/get", types.GetPromptRequestParams, prompts.get)
        handle("completion/complete", types.CompleteRequestParams, completions.complete)

    def _offer(self, tasks: Tasks, older: SessionTasks) -> None:
        """Handle what is about tasks; only clients of the modern era hear of the extension."""
        self.extensions[EXTENSION] = {}
        handle = self.add_request_handler
        handle("tasks/get", TaskParams, by_era(tasks.get, older.get))
        handle("tasks/update", UpdateParams, tasks.update)
        handle("tasks/cancel", TaskParams, by_era(tasks.cancel, older.cancel))
        handle("tasks/result", TaskParams, older.result)
        handle("tasks/list", types.PaginatedRequestParams, older.list)

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        """Say that every list can change, also on HTTP, where the SDK passes no options; and name tasks."""
        options = notification_options or NotificationOptions(
            tools_changed=True, prompts_changed=True, resources_changed=True
        )
        made = super().create_initialization_options(options, experimental_capabilities, extensions)
        capabilities = made.capabilities.model_copy(update={"tasks": CAPABILITY})
        return made.model_copy(update={"capabilities": capabilities})

    @asynccontextmanager
    async def announcing(self) -> AsyncGenerator[None]:
        """Tell clients of changes until the block ends; the catalog must be open."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.changes.follow, self._catalog.subscribe(), self._published.topics)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    def _serves(self, name: str) -> bool:
        return name in self._catalog.snapshot.entries or any(tool["name"] == name for tool in TOOLS)

    def _turned(self, run: str) -> None:
        if self.changes.followed:
            self.changes.updated(RUN.uri(run_id=run))

    async def _admit(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        if ctx.method == "initialize":
            note_capability(ctx)
        elif ctx.method == "notifications/initialized":
            self.changes.admit(ctx)
            session = connection(ctx)
            if session.session_id is not None:
                self.connections[session.session_id] = session
        elif ctx.method in INPUT_REQUIRED_METHODS:
            await self._codec.ready()
        return await call_next(ctx)


@asynccontextmanager
async def calling(parent: Caller, _: object) -> AsyncGenerator[Caller]:
    """What the SDK hands to every handler: who calls where no HTTP request says so."""
    yield parent


async def contain(ctx: Request, call_next: CallNext) -> HandlerResult:
    """Turn whatever escapes a handler into an answer to this one request.

    The SDK catches `Exception` only, and shows its text to handshake-era clients; a `SystemExit` would end
    every session. A cancellation is let through if somebody really cancelled this task.
    """
    try:
        return await call_next(ctx)
    except (MCPError, ValidationError, GeneratorExit):
        raise
    except BaseException as error:  # with engine `local` a pipeline may raise anything in this process
        if is_cancellation(error):
            raise
        reference = os.urandom(4).hex()
        log.error("%s failed, reference %s", ctx.method, reference, exc_info=error)
        text = f"The server failed inside; its log says why under reference {reference}."
        raise MCPError(types.INTERNAL_ERROR, text) from None


def is_cancellation(error: BaseException) -> bool:
    """True if the current task was cancelled from outside, false if code just raised `CancelledError`."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
