"""The REST surface: pipelines and everything about them as plain HTTP, in the shapes of Hayhooks' pages.

errors       one shape for every error
bodies       what a request brings
status       how pipelines are doing; alone it is the slim surface
deploying    `POST /deploy_files` and its kin, undeploy
verbs        versions, stages and runs: the verbs of MCP's management tools
drawing      `GET /draw/{name}`
following    `GET /runs/{run_id}/events`
artifacts    what runs left
running      `POST /{name}/run`
answers      what a run gave, as JSON, text, events or a file
"""

from __future__ import annotations

from dataclasses import replace

from ...server import Server
from .. import Surface
from ..operations import Operation, mounted
from . import artifacts, deploying, drawing, running, status
from .following import Following
from .verbs import Verbs

__all__ = ["Operation", "operations", "surface"]


def surface(server: Server) -> Surface:
    """Every route but those of the slim surface, which is `status`."""
    following = Following(server)
    return replace(mounted(operations(server, following)), close_streams=following.close)


def operations(server: Server, following: Following) -> tuple[Operation, ...]:
    """Every route with its description; those with a name in front come last."""
    verb = Verbs(server).operation
    versions, version = "/pipelines/{name}/versions", "/pipelines/{name}/versions/{version}"
    return (
        status.detailed(server),
        *deploying.operations(server),
        verb("GET", versions, "list_versions"),
        verb("PATCH", version, "update_version"),
        verb("DELETE", version, "delete_version"),
        verb("PUT", f"{version}/stage", "set_stage"),
        verb("GET", "/pipelines/{name}/compare", "compare_versions"),
        verb("GET", "/pipelines/{name}/statistics", "get_statistics", named={"name": "pipeline"}),
        verb("POST", "/pipelines/{name}/reset", "reset_breaker", named={"name": "pipeline_name"}),
        drawing.operation(server),
        verb("GET", "/runs", "list_runs"),
        verb("POST", "/runs", "start_run", status=202),
        verb("GET", "/runs/{run_id}", "get_run"),
        verb("POST", "/runs/{run_id}/cancel", "cancel_run"),
        verb("POST", "/runs/{run_id}/answer", "answer_run"),
        verb("POST", "/runs/{run_id}/rerun", "rerun", status=202),
        following.operation(),
        artifacts.operation(server),
        *running.operations(server),
    )
