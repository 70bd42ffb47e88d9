"""Answers that nobody is asked for: what is refused before it is looked at, in bytes ready to be sent."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import MappingProxyType

import httptools
import orjson
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ..authentication import LISTEN
from ..surfaces.rest.errors import WORDS

BUSY = "The server has as many connections as it takes; try again in a second."
OVERLOADED = "The server has as many calls in flight as it takes; try again in a second."
PROTOCOL = (b"/mcp", b"/messages")
"""Where a refusal is an error of JSON-RPC."""
INTERNAL = -32603
"""JSON-RPC's code for a fault that is not the caller's."""
CLOSE = b"connection: close\r\n"


class Refused(RequestResponseCycle):
    """A call that is refused: its path, and what a connection asks of a response. No more of it is kept."""

    parser: httptools.HttpRequestParser

    def __init__(self) -> None:
        self.path = b""
        self.keep_alive = self.disconnected = self.response_started = self.response_complete = False
        self.more_body = True
        self.message_event = asyncio.Event()
        self.messages = 0

    def on_message_begin(self) -> None:
        self.messages += 1

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_message_complete(self) -> None:
        self.more_body = False
        self.keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()


def skimmed(data: bytes) -> Refused | None:
    """The call that these bytes are; None if they are less, more, or anything else."""
    if not data.startswith(b"POST /") or LISTEN[1] in data:
        return None
    call = Refused()
    call.parser = httptools.HttpRequestParser(call)
    try:
        call.parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    finally:
        del call.parser  # each refers to the other, which takes a search to find
    return None if call.more_body or call.messages > 1 else call


def refusal(status: int, text: str) -> bytes:
    """A whole response that ends the connection."""
    return response(status, error(status, text), CLOSE)


def shed(path: bytes, keep_alive: bool) -> bytes:
    """The response to a call that is one too many."""
    return SHED[path.startswith(PROTOCOL), keep_alive]


def response(status: int, body: bytes, more: bytes) -> bytes:
    """A response as bytes."""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n" % len(body) + more + b"\r\n" + body


def error(status: int, text: str) -> bytes:
    """The error as JSON, as far as it can be told without a request."""
    kind = WORDS.get(status, "invalid_request_error")
    return orjson.dumps({"error": {"message": text, "type": kind, "code": status}, "detail": text})


RPC_ERROR = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": INTERNAL, "message": OVERLOADED}})
SHED = MappingProxyType(
    {
        (is_rpc, keep_alive): response(503, body, b"retry-after: 1\r\n" + (b"" if keep_alive else CLOSE))
        for is_rpc, body in ((True, RPC_ERROR), (False, error(503, OVERLOADED)))
        for keep_alive in (True, False)
    }
)
