"""The management verbs: tools of MCP and routes of REST, with one set of arguments, checks and answers.

breaker_tools, delivery_tools, history_tools, pipeline_tools, registry_tools, run_tools, search_tools,
step_tools, version_tools
            the verbs, declared as tools, and what answers each
schemas     how they are declared
views       what an address serves, and one call of a verb
run_views   a run as its caller sees it
search      pipelines found by words
samples     an example of arguments
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from ...access import sight
from ...access.table import TOOLS as NEEDS
from ...limits.rates import Kind
from ...models import Json
from ...server import Server
from . import (
    breaker_tools,
    delivery_tools,
    history_tools,
    pipeline_tools,
    registry_tools,
    run_tools,
    search_tools,
    step_tools,
    version_tools,
)
from .breaker_tools import BreakerTools
from .delivery_tools import DeliveryTools
from .history_tools import HistoryTools
from .pipeline_tools import PipelineTools
from .registry_tools import RegistryTools
from .run_tools import RunTools
from .search_tools import SearchTools
from .step_tools import StepTools
from .version_tools import VersionTools
from .views import Invocation

if TYPE_CHECKING:
    from ...catalog.arguments import Arguments

TOOLS: tuple[Json, ...] = (
    *search_tools.TOOLS,
    *pipeline_tools.TOOLS,
    *run_tools.TOOLS,
    *history_tools.TOOLS,
    *step_tools.TOOLS,
    *version_tools.TOOLS,
    *registry_tools.TOOLS,
    *delivery_tools.TOOLS,
    *breaker_tools.TOOLS,
)
RUN_PIPELINE = "run_pipeline"
"""The one that is answered by a run, and not here."""
FILTERED = frozenset({"describe_pipeline", "list_runs"})
"""Tools that name a pipeline and look for it only in what their caller may see."""
COUNTED: Mapping[str, Kind] = MappingProxyType(
    {"deploy_pipeline": "register", "register_version": "register", "get_contributor_impact": "impact"}
)
"""Tools whose calls are counted once more, as their routes are."""


class Management:
    """The management tools by name, each with the function that gives its structured answer."""

    def __init__(self, server: Server) -> None:
        pipelines, runs, searching = PipelineTools(server), RunTools(server), SearchTools(server)
        self._audit, self._rates = server.audit, server.rates
        self._schemas: Mapping[str, Json] = {tool["name"]: tool["inputSchema"] for tool in TOOLS}
        self._compiled: dict[str, Arguments] = {}
        """Of those that were called."""
        self._answers: dict[str, Callable[[Invocation], Awaitable[Json]]] = {
            "search_pipelines": searching.search,
            "describe_pipeline": searching.describe,
            "deploy_pipeline": pipelines.deploy,
            "undeploy_pipeline": pipelines.undeploy,
            "get_pipeline_status": pipelines.status,
            "get_all_pipeline_statuses": pipelines.statuses,
            "get_run": runs.show,
            "answer_run": runs.answer,
            "cancel_run": runs.cancel,
            **HistoryTools(server).answers,
            **StepTools(server).answers,
            **VersionTools(server).answers,
            **RegistryTools(server).answers,
            "list_deliveries": DeliveryTools(server).list,
            "reset_breaker": BreakerTools(server).reset,
        }

    def __contains__(self, name: str) -> bool:
        return name in self._schemas

    def check(self, name: str, arguments: Json) -> None:
        """Raise `Invalid` for arguments that do not fit the schema of the tool `name`."""
        if name not in self._compiled:
            from ...catalog.arguments import Arguments  # 3 MB, and no call may ever come

            self._compiled[name] = Arguments(self._schemas[name])
        self._compiled[name].check(arguments)

    async def call(self, name: str, invocation: Invocation) -> Json:
        """The answer of any tool but `run_pipeline`. Raises a `ServerError` that says what to change.

        Of whatever needs more than to run pipelines, the audit log is told.
        """
        check(name, invocation)
        if name in COUNTED and invocation.caller.origin == "mcp":  # HTTP has counted its own
            await self._rates.count(invocation.caller, COUNTED[name])
        if NEEDS[name] in ("read", "run"):
            return await self._answers[name](invocation)
        given = invocation.arguments
        subject = str(given.get("name") or given.get("pipeline_name") or "")
        version = int(given["version"]) if "version" in given else None
        async with self._audit.noting(name, invocation.caller, subject, version) as noting:
            answer = await self._answers[name](invocation)
            status: Any = answer.get("pipeline")  # a deploy tells it beside the tool; elsewhere it is a name
            noting.of(cast(Json, status) if isinstance(status, dict) else answer)
        return answer


def check(name: str, call: Invocation) -> None:
    """Raise `NotFound` if a tool is called on a pipeline that its caller may not see."""
    given = call.arguments
    pipeline: object = given.get("name") or given.get("pipeline_name") or given.get("pipeline")
    if isinstance(pipeline, str) and name not in FILTERED:
        sight.check(call.caller, NEEDS[name], pipeline)
