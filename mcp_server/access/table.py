"""Which scope each management tool and each route needs: the one place that says so.

What is not here is refused: a new tool or route without an entry ends the start of the server, and a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..models import Action

OPEN = None
"""Everyone may, also without a credential: it tells nothing that is not in the documentation."""

TOOLS: Mapping[str, Action] = MappingProxyType(
    {
        "search_pipelines": "read",
        "describe_pipeline": "read",
        "run_pipeline": "run",
        "deploy_pipeline": "deploy",
        "undeploy_pipeline": "deploy",
        "get_pipeline_status": "read",
        "get_all_pipeline_statuses": "read",
        "get_run": "read",
        "answer_run": "run",
        "cancel_run": "run",
        "start_run": "run",
        "rerun": "run",
        "list_runs": "read",
        "get_statistics": "read",
        "run_batch": "run",
        "get_batch": "read",
        "clear_cache": "deploy",
        "execute_step": "run",
        "select_response": "run",
        "rewind_run": "run",
        "fork_run": "run",
        "export_run": "read",
        "import_run": "run",
        "list_artifacts": "read",
        "list_versions": "read",
        "update_version": "deploy",
        "delete_version": "deploy",
        "set_stage": "deploy",
        "compare_versions": "read",
        "evaluate_version": "deploy",
        "register_version": "deploy",
        "get_contributor_impact": "read",
        "list_deliveries": "admin",
        "reset_breaker": "deploy",
    }
)

_MODELS: Mapping[str, Action] = MappingProxyType(
    {
        "GET /models": "read",
        "GET /models/production": "read",
        "GET /models/compare": "read",
        "GET /models/contributors/{address}/impact": "read",
        "GET /models/{model_id}/lineage": "read",
        "GET /models/{name}/{version}": "read",
        "GET /models/{name}/{version}/metrics": "read",
        "GET /models/{name}/{version}/lineage": "read",
        "GET /models/{name}/{version}/predictions": "read",
        "GET /models/{name}/{version}/download": "deploy",
        "PATCH /models/{name}/{version}": "deploy",
        "DELETE /models/{name}/{version}": "deploy",
        "POST /models/{name}/{version}/transition": "deploy",
        "POST /models/register": "deploy",
        "POST /models/evaluate": "deploy",
        "POST /models/batch": "deploy",
    }
)
"""Those of the registry, which are below `/api` too."""

ROUTES: Mapping[str, Action | None] = MappingProxyType(
    {
        "/mcp": "read",
        "/mcp/{toolset}": "read",
        "/sse": "read",
        "/messages": "read",
        "GET /mcp/health": OPEN,
        "GET /live": OPEN,
        "GET /ready": OPEN,
        "GET /health": OPEN,
        "GET /health/status": OPEN,
        "GET /version": OPEN,
        "GET /metrics": "read",
        "GET /mcp/tools": "read",
        "GET /status": "read",
        "GET /status/{name}": "read",
        "GET /pipelines/{name}/status": "read",
        "POST /deploy_files": "deploy",
        "POST /pipelines/deploy": "deploy",
        "POST /deploy-yaml": "deploy",
        "POST /undeploy/{name}": "deploy",
        "GET /pipelines/{name}/versions": "read",
        "PATCH /pipelines/{name}/versions/{version}": "deploy",
        "DELETE /pipelines/{name}/versions/{version}": "deploy",
        "PUT /pipelines/{name}/versions/{version}/stage": "deploy",
        "GET /pipelines/{name}/compare": "read",
        "GET /pipelines/{name}/statistics": "read",
        "POST /pipelines/{name}/reset": "deploy",
        "GET /draw/{name}": "read",
        "GET /runs": "read",
        "POST /runs": "run",
        "GET /runs/{run_id}": "read",
        "POST /runs/{run_id}/cancel": "run",
        "POST /runs/{run_id}/answer": "run",
        "POST /runs/{run_id}/rerun": "run",
        "GET /runs/{run_id}/events": "read",
        "GET /runs/{run_id}/artifacts/{name}": "read",
        "POST /{name}/run": "run",
        "GET /v1/models": "read",
        "GET /v1/models/{model}": "read",
        "POST /v1/chat/completions": "run",
        "POST /v1/files": "run",
        "POST /v1/responses": "run",
        "GET /models/{model}": "read",
        "POST /chat/completions": "run",
        "POST /files": "run",
        "POST /responses": "run",
        "POST /{name}/chat": "run",
        "POST /pipeline/start": "run",
        "GET /pipeline/{run_id}/status": "read",
        "POST /pipeline/{run_id}/save": "run",
        "POST /step/{run_id}/execute": "run",
        "POST /step/{run_id}/select": "run",
        "POST /step/{run_id}/rewind": "run",
        "POST /step/{run_id}/fork": "run",
        "GET /artifacts/{run_id}": "read",
        "GET /step/{run_id}/stream": "read",
        **_MODELS,
        **{key.replace(" /", " /api/", 1): action for key, action in _MODELS.items()},
        "POST /api/v1/dspy/execute": "run",
        "POST /api/v1/dspy/execute/batch": "run",
        "GET /api/v1/dspy/programs": "read",
        "GET /api/v1/dspy/execution/{execution_id}": "read",
        "GET /api/v1/dspy/stats": "read",
        "GET /api/v1/dspy/health": OPEN,
        "POST /api/v1/dspy/cache/clear": "deploy",
        "GET /mlflow/health/mlflow": "read",
        "GET /mlflow/health/mlflow/detailed": "read",
        "GET /mlflow/health/mlflow/connectivity": "read",
        "GET /api/health/mlflow": "read",
        "GET /api/health/mlflow/detailed": "read",
        "GET /api/health/mlflow/connectivity": "read",
        "GET /health/mlflow": OPEN,
        "POST /health/mlflow/reset": "admin",
        "POST /mlflow/{path:path}/search": "read",
        "GET /mlflow/{path:path}": "read",
        "POST /mlflow/{path:path}": "deploy",
        "PUT /mlflow/{path:path}": "deploy",
        "PATCH /mlflow/{path:path}": "deploy",
        "DELETE /mlflow/{path:path}": "deploy",
        "GET /.well-known/oauth-protected-resource": OPEN,
        "GET /.well-known/oauth-protected-resource/mcp": OPEN,
        "GET /openapi.json": OPEN,
        "GET /openapi.yaml": OPEN,
        "GET /docs": OPEN,
        "GET /redoc": OPEN,
        "GET /docs/assets/{file}": OPEN,
    }
)
"""By method and path; by path alone where every method has the same. A websocket's method is GET, HEAD goes
with GET, and OPTIONS is for everyone who may call at all."""


WHOLE = frozenset({"/metrics", "/mlflow/{path:path}", "/mlflow/{path:path}/search"})
"""Paths that tell of all pipelines at once: a scope for one of them does not do."""


def needed(method: str, path: str) -> Action | None:
    """The scope that a route needs; `OPEN` for none. Raises `KeyError` for a route that is not listed."""
    path = path.rstrip("/") or "/"
    if path in ROUTES:
        return ROUTES[path]
    if method == "OPTIONS":
        return "read"
    return ROUTES[f"{'GET' if method == 'HEAD' else method} {path}"]
