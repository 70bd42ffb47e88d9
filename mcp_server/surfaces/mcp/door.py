"""What is checked on a posted message before the SDK reads it: its id, its size, blanks around headers."""

from __future__ import annotations

from typing import Any, cast

import mcp_types as types
import orjson
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALL_LIMIT = 4 * 2**20
"""Bytes a message may have, unless it deploys: files may go up to the limit of every request."""

ID_LIMIT = 256
"""Characters an id may have; it is echoed."""

Flight = tuple[bytes, str]
"""A session id and the id of a request in it; 7 and "7" are one, as they are to the SDK."""


class Door:
    """Wraps one of the SDK's ASGI apps; refuses with a JSON-RPC error that has no id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._flights: set[Flight] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = stripped(scope)
        if scope["method"] == "POST":
            body = await read(receive)
            await self._post(body, scope, replay(body, receive), send)
        else:
            await self._app(scope, receive, send)

    async def _post(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        message = parsed(body)
        flight = self._flight(scope, message)
        if has_bad_id(message):
            await refusal(400, "The id must be a string or an integer, short and not null.")(
                scope, receive, send
            )
        elif len(body) > CALL_LIMIT and not deploys(message):
            await refusal(413, f"The message is larger than {CALL_LIMIT} bytes.")(scope, receive, send)
        elif flight is None:
            await self._app(scope, receive, send)
        elif flight in self._flights:
            await refusal(400, "A request with this id is still in flight.")(scope, receive, send)
        else:
            await self._fly(flight, scope, receive, send)

    async def _fly(self, flight: Flight, scope: Scope, receive: Receive, send: Send) -> None:
        self._flights.add(flight)
        try:
            await self._app(scope, receive, send)
        finally:
            self._flights.discard(flight)

    @staticmethod
    def _flight(scope: Scope, message: dict[str, Any]) -> Flight | None:
        """The request to keep apart from others: only those of handshake-era sessions share ids."""
        session = next((value for name, value in scope["headers"] if name == b"mcp-session-id"), None)
        return (session, str(message["id"])) if session and is_request(message) else None


def stripped(scope: Scope) -> Scope:
    """The scope without blanks around header values, which are no part of them (RFC 9110 section 5.5)."""
    headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
    return {**scope, "headers": headers}


async def read(receive: Receive) -> bytes:
    """The whole body; what came of it if the client left."""
    body = bytearray()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body", False):
            return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once more, then whatever follows."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


def parsed(body: bytes) -> dict[str, Any]:
    """The message as a JSON object; empty if it is anything else, which the SDK then refuses."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return cast(dict[str, Any], message) if isinstance(message, dict) else {}


def is_request(message: dict[str, Any]) -> bool:
    """True for a request, false for a notification or a response."""
    return "id" in message and "method" in message


def has_bad_id(message: dict[str, Any]) -> bool:
    """True for a request the SDK would drop as a notification, or that is no request by JSON-RPC and MCP."""
    identity = message.get("id")
    valid = (
        isinstance(identity, str | int) and not isinstance(identity, bool) and len(str(identity)) <= ID_LIMIT
    )
    return is_request(message) and not valid


def deploys(message: dict[str, Any]) -> bool:
    """True for the one call that carries files."""
    params = message.get("params")
    return isinstance(params, dict) and cast(dict[str, Any], params).get("name") == "deploy_pipeline"


def refusal(status: int, text: str) -> Response:
    """A JSON-RPC error for a message whose id cannot be trusted."""
    error = {"code": types.INVALID_REQUEST, "message": text}
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    return Response(body, status, media_type="application/json")
