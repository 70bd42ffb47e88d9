"""`GET /runs/{run_id}/artifacts/{name}`: what a run left, as a file."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...models import Artifact
from ...runs.values import ALL
from ...server import Server
from ..callers import caller_of
from ..operations import Operation
from .answers import disposition


def operation(server: Server) -> Operation:
    """The one route."""

    async def artifact(request: Request) -> Response:
        run, name = request.path_params["run_id"], request.path_params["name"]
        uri = Artifact(name=name, mime_type="").uri(run)
        part = await server.runs.past.part(caller_of(request, "rest"), uri, ALL)
        about = {"Content-Disposition": disposition(name), "X-Content-Type-Options": "nosniff"}
        return Response(part.content, media_type=part.artifact.mime_type, headers=about)

    path = "/runs/{run_id}/artifacts/{name}"
    return Operation("GET", path, artifact, "What a run left", media=("application/octet-stream",))
