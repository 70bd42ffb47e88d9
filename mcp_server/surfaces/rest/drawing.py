"""`GET /draw/{name}`: a Haystack pipeline as a Mermaid diagram, made here.

As text only: an image would need a browser, or Haystack's own way, which sends the pipeline to a web service.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ...access import sight
from ...errors import NotFound, Unavailable
from ...pipelines.diagrams import ADDRESS, MERMAID
from ...runs import ignore
from ...server import Server
from ..callers import caller_of
from ..operations import Operation


def operation(server: Server) -> Operation:
    """The one route."""

    async def draw(request: Request) -> Response:
        name: str = request.path_params["name"]
        sight.check(caller_of(request, "rest"), "read", name)
        uri = ADDRESS.uri(name=name)
        entry = await server.catalog.find(name)
        if all(resource["uri"] != uri for resource in entry.published[0]):
            raise NotFound(f"{name} is no Haystack pipeline that can be drawn.")
        live = await server.runs.start(
            caller_of(request, "rest"), name, {"uri": uri}, verb="read", listener=ignore
        )
        await server.runs.attend(live)
        if live.run.status != "done" or live.run.result is None:
            raise Unavailable(f"The diagram of {name} could not be made.")
        contents: list[Any] = orjson.loads(live.run.result.content)
        kind = MERMAID if MERMAID in request.headers.get("accept", "") else "text/plain"
        return Response(contents[0]["text"], media_type=kind)

    media = ("text/plain", MERMAID)
    return Operation("GET", "/draw/{name}", draw, "A pipeline as Mermaid diagram", media=media)
