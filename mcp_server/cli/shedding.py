"""Answers that nobody is asked for: what is refused before it is looked at, in bytes ready to be sent."""

from __future__ import annotations

from http import HTTPStatus

import orjson
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ..surfaces.rest.errors import WORDS

BUSY = "The server has as many connections as it takes; try again in a second."
OVERLOADED = "The server has as many calls in flight as it takes; try again in a second."
PROTOCOL = ("/mcp", "/messages")
"""Where a refusal is an error of JSON-RPC."""
INTERNAL = -32603
"""JSON-RPC's code for a fault that is not the caller's."""


def refusal(status: int, text: str) -> bytes:
    """A whole response that ends the connection."""
    return response(status, error(status, text), b"connection: close\r\n")


def shed(cycle: RequestResponseCycle, root_path: str) -> None:
    """Answer a call with 503 instead of serving it; the connection goes on."""
    path = cycle.scope["path"].removeprefix(root_path)
    body = RPC_ERROR if path.startswith(PROTOCOL) else HTTP_ERROR
    more = b"retry-after: 1\r\n" + (b"" if cycle.keep_alive else b"connection: close\r\n")
    cycle.response_started = cycle.response_complete = True
    cycle.transport.write(response(503, body, more))
    if not cycle.keep_alive:
        cycle.transport.close()


def response(status: int, body: bytes, more: bytes) -> bytes:
    """A response as bytes."""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n" % len(body) + more + b"\r\n" + body


def error(status: int, text: str) -> bytes:
    """The error as JSON, as far as it can be told without a request."""
    kind = WORDS.get(status, "invalid_request_error")
    return orjson.dumps({"error": {"message": text, "type": kind, "code": status}, "detail": text})


HTTP_ERROR = error(503, OVERLOADED)
RPC_ERROR = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": INTERNAL, "message": OVERLOADED}})
