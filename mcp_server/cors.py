"""Pages of other origins that may call: what a browser asks before it lets them, and what they may read.

The Inspector's direct mode and other MCP clients in a browser need it. Only origins that the operator listed
are answered so, by name and never with `*`; no cookies are involved (Fetch standard, CORS protocol).
"""

from __future__ import annotations

import re

from starlette.responses import Response
from starlette.types import Message, Scope, Send

METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
EXPOSED = (
    "Mcp-Session-Id, Mcp-Protocol-Version, WWW-Authenticate, Retry-After, Location, X-Request-ID, "
    "X-Processing-Time-Ms, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset"
)
"""Headers of answers that a page may read, beside those that every page may."""
KEPT = "600"
"""Seconds for which a browser may remember what it was told."""
NAMES = re.compile(r"[A-Za-z0-9-]{1,64}(\s*,\s*[A-Za-z0-9-]{1,64}){0,63}")


def asks_first(scope: Scope) -> bool:
    """True for the request that a browser sends before the one of the page."""
    return scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method") is not None


def permission(scope: Scope) -> Response:
    """The answer to it: whatever headers the page wants to send, it may."""
    wanted = header(scope, b"access-control-request-headers") or ""
    headers = {"Access-Control-Allow-Methods": METHODS, "Access-Control-Max-Age": KEPT}
    if NAMES.fullmatch(wanted):
        headers["Access-Control-Allow-Headers"] = wanted
    return Response(status_code=204, headers=headers)


def readable(send: Send, origin: str) -> Send:
    """A `send` that lets the page of this origin read the response."""
    more = (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", EXPOSED.encode()),
        (b"vary", b"Origin"),
    )

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return tell


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
