"""Where clients learn which authorization server to go to (RFC 9728); served only where one is set."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ..access.oauth import MCP, WELL_KNOWN, OAuth
from ..server import Server
from . import Surface
from .operations import Handler, Operation, as_json, gives, mounted

TEXTS = {"type": "array", "items": {"type": "string"}}
METADATA = gives(resource={"type": "string"}, authorization_servers=TEXTS, scopes_supported=TEXTS)


def surface(server: Server) -> Surface:
    """The document of the protocol's address, and that of the whole server."""
    oauth = server.access.oauth
    if oauth is None:
        return Surface([])
    summary = "Which authorization server to ask for a token"
    return mounted(
        [
            Operation("GET", WELL_KNOWN + path, telling(oauth, path), summary, answer=METADATA)
            for path in (MCP, "")
        ]
    )


def telling(oauth: OAuth, path: str) -> Handler:
    """What answers with the metadata of one resource."""

    async def tell(request: Request) -> Response:
        return as_json(oauth.metadata(path), headers={"Cache-Control": "max-age=3600"})

    return tell
