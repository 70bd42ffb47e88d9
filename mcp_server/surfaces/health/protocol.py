"""A round trip through the protocol server, as a client makes it, without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import orjson
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Scope

from ...models import Caller
from .. import Surface
from .checks import Look

VERSION = "2026-07-28"
ASKED = orjson.dumps(
    {
        "jsonrpc": "2.0",
        "id": "ready",
        "method": "server/discover",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": VERSION,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        },
    }
)
"""What stands for a ping: the first thing that a client of this era asks (2026-07-28, server/discover)."""
HEADERS = (
    (b"host", b"localhost"),
    (b"content-type", b"application/json"),
    (b"accept", b"application/json, text/event-stream"),
    (b"mcp-protocol-version", VERSION.encode()),
    (b"mcp-method", b"server/discover"),
)


def answers(surfaces: Iterable[Surface]) -> tuple[Look, ...]:
    """The look at the protocol, if one of the surfaces serves it."""
    for surface in surfaces:
        for route in surface.routes:
            if isinstance(route, Route) and route.path == "/mcp":
                return (Look("mcp", True, lambda app=route.app: fault(app)),)
    return ()


async def fault(app: ASGIApp) -> str | None:
    """What is wrong with its answer to `server/discover`."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    left = asyncio.Event()
    asked: list[Message] = [{"type": "http.request", "body": ASKED, "more_body": False}]

    async def receive() -> Message:
        if not asked:
            await left.wait()
        return asked.pop() if asked else {"type": "http.disconnect"}

    await app(scope(), receive, send)
    left.set()
    status = next((each["status"] for each in sent if each["type"] == "http.response.start"), None)
    body = b"".join(each.get("body", b"") for each in sent if each["type"] == "http.response.body")
    return None if status == 200 and b'"result"' in body else "the protocol server does not answer"


def scope() -> Scope:
    """A request to `/mcp`."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "headers": list(HEADERS),
        "client": None,
        "server": None,
        "state": {"request_id": "ready", "caller": Caller()},
        "path_params": {},
    }
