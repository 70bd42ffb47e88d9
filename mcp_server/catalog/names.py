"""Which names a pipeline may have: what fits every client, and is neither a route nor a tool of ours."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..errors import Invalid
from ..models import NAME

_TOOLS = "a management tool"
_WORDS: Mapping[str, str] = {
    "MCP, SSE and status routes": "mcp sse messages status",
    "step-wise routes": "pipeline step artifacts",
    "Hayhooks routes": "deploy_files deploy-yaml pipelines undeploy draw runs "
    "openapi.json openapi.yaml docs redoc",
    "OpenAI-compatible routes": "v1 chat models responses files",
    "health and version routes": "live ready health version metrics",
    "registry routes": "api compare production register evaluate batch contributors lineage",
    "tracking server routes": "mlflow",
    "well-known addresses": ".well-known favicon.ico",
    _TOOLS: "deploy_pipeline undeploy_pipeline get_pipeline_status get_all_pipeline_statuses "
    "search_pipelines describe_pipeline run_pipeline get_run answer_run cancel_run list_runs rerun start_run "
    "list_versions update_version delete_version set_stage compare_versions evaluate_version "
    "register_version get_contributor_impact get_statistics "
    "clear_cache run_batch get_batch execute_step select_response rewind_run fork_run export_run import_run "
    "list_artifacts list_deliveries reset_breaker",
}
RESERVED: Mapping[str, str] = MappingProxyType(
    {word: source for source, words in _WORDS.items() for word in words.split()}
)
"""Every reserved name with what it belongs to: first path segments of routes, and names of tools."""


def fault(name: str) -> str | None:
    """Why a pipeline may not have this name, and what to do; None if it may."""
    if not NAME.fullmatch(name):
        return "a name has 1 to 64 letters, digits, `_` or `-` and begins with a letter or digit; rename it"
    if source := RESERVED.get(name):
        kind = source if source == _TOOLS else f"the {source}"
        return f"the name {name} is reserved for {kind}; rename it"
    return None


def check(name: str) -> None:
    """Raise `Invalid` for a name that a pipeline may not have."""
    if problem := fault(name):
        raise Invalid(f"Not a name for a pipeline: {problem}.")
