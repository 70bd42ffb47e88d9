"""Models: the pipelines that can be chatted with."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ...catalog import Entry
from ...models import Json
from ...server import Server
from ..callers import caller_of
from ..operations import as_json
from .asking import found

OWNER = "haystack-mcp-server"


class Models:
    """What answers the routes about models."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def list(self, request: Request) -> Response:
        """Every pipeline that takes chats, sorted by name."""
        snapshot = await self._server.catalog.ready()
        may = caller_of(request, "openai").may
        chats = (
            each for each in snapshot.entries.values() if each.manifest and "chat" in each.manifest.verbs
        )
        listed = [each for each in chats if may("run", each.name)]
        return as_json({"object": "list", "data": [*map(model, listed)]})

    async def one(self, request: Request) -> Response:
        """One of them, by its name."""
        entry, _ = await found(self._server, caller_of(request, "openai"), request.path_params["model"])
        return as_json(model(entry))


def model(entry: Entry) -> Json:
    """A pipeline as OpenAI shows a model; `name` and `description` are for clients that show more."""
    assert entry.version is not None and entry.manifest is not None, "it takes chats, so it was loaded"
    tool = entry.manifest.tool
    shown = {
        "id": entry.name,
        "object": "model",
        "created": int(entry.version.created),
        "owned_by": OWNER,
        "name": tool.get("title") or entry.name,
    }
    return shown | ({"description": tool["description"]} if tool.get("description") else {})
