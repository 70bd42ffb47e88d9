"""What a plain request is: a call of a tool or the list of all, well formed, that asks for nothing else.

Everything here errs to one side: what is not surely plain is left to the SDK, errors included. It is read
with every call, so it asks in few steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

import mcp_types as types
import orjson
from mcp.server.streamable_http import check_accept_headers
from mcp.shared.inbound import MCP_PARAM_HEADER_PREFIX
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_MODERN_VERSION
from starlette.requests import Request

from ...models import Json
from .door import ID_LIMIT

LIST = "tools/list"
METHODS = {"tools/call": b"tools/call", LIST: b"tools/list"}
MODERN = LATEST_MODERN_VERSION.encode()
HANDSHAKE = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)
PARAM = MCP_PARAM_HEADER_PREFIX.lower().encode()
OTHERS = frozenset({b"idempotency-key", b"traceparent", b"tracestate", b"baggage"})
"""Headers that ask for more than an answer."""
VERSION = types.PROTOCOL_VERSION_META_KEY
ENVELOPE = frozenset({VERSION, types.CLIENT_CAPABILITIES_META_KEY, types.CLIENT_INFO_META_KEY})
"""What the `_meta` of a plain modern request may hold."""
CALL = frozenset({"name", "arguments", "_meta"})
"""What the params of a plain call may hold."""
NOTHING: Json = {}
EXACT = 2.0**63
"""Numbers from here on may have been integers that a parser rounded."""

Headers = Sequence[tuple[bytes, bytes]]


class Plain(NamedTuple):
    """A plain request."""

    id: str | int
    tool: str | None
    """None for the list."""
    arguments: Json
    meta: Json | None
    """Of a modern request; None in a session."""
    session: str


def plain(body: bytes, given: Headers, limit: int) -> Plain | None:
    """The message, of at most `limit` bytes, as a plain request; None for any other."""
    headers = dict(given)
    if len(headers) != len(given) or not OTHERS.isdisjoint(headers) or len(body) > limit:
        return None  # a header that came twice is for the SDK to judge
    if not accepts(headers.get(b"accept", b""), headers.get(b"content-type", b"")):
        return None
    message = read(body)
    if message is None:
        return None
    version = headers.get(b"mcp-protocol-version")
    if version == MODERN:
        return modern(message, headers)
    return in_session(message, headers) if version is None or version in HANDSHAKE else None


class Message(NamedTuple):
    """What the body of a plain request says."""

    id: str | int
    method: str
    params: Json
    name: str | None
    arguments: Json


def read(body: bytes) -> Message | None:
    """The request of a body; None unless it lists tools or calls one, in the usual form."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(found) is not dict:
        return None
    message = cast(Json, found)
    method, identity, params = message.get("method"), message.get("id"), message.get("params", NOTHING)
    if message.get("jsonrpc") != "2.0" or len(message) != 3 + ("params" in message):
        return None
    if type(params) is not dict or type(method) is not str or method not in METHODS:
        return None
    if type(identity) is not int and (type(identity) is not str or len(identity) > ID_LIMIT):
        return None
    told = cast(Json, params)
    name, arguments = told.get("name"), told.get("arguments", NOTHING)
    if method == LIST:
        return Message(identity, method, told, None, NOTHING)
    if not told.keys() <= CALL or type(name) is not str or type(arguments) is not dict:
        return None
    given = cast(Json, arguments)
    return Message(identity, method, told, name, given) if exact(given) else None


def modern(message: Message, headers: Mapping[bytes, bytes]) -> Plain | None:
    """One that stands for itself: header and body agree, and its envelope holds nothing more."""
    meta: Any = message.params.get("_meta")
    if type(meta) is not dict or headers.get(b"mcp-method") != METHODS[message.method]:
        return None
    envelope = cast(Json, meta)
    if envelope.get(VERSION) != LATEST_MODERN_VERSION or not envelope.keys() <= ENVELOPE:
        return None
    for header in headers:
        if header.startswith(PARAM):
            return None
    if message.name is None:
        fits = len(message.params) == 1
    else:
        fits = headers.get(b"mcp-name") == message.name.encode()
    return Plain(message.id, message.name, message.arguments, envelope, "") if fits else None


def in_session(message: Message, headers: Mapping[bytes, bytes]) -> Plain | None:
    """One that belongs to a session; whether there is such a session, the session knows."""
    session = headers.get(b"mcp-session-id")
    if not session or message.params.get("_meta", NOTHING) != NOTHING:
        return None
    if message.name is None and not message.params.keys() <= {"_meta"}:
        return None
    return Plain(message.id, message.name, message.arguments, None, session.decode("latin-1"))


def exact(value: object) -> bool:
    """True if every number in it is what was sent: beyond 64 bits, parsers differ."""
    kind = type(value)
    if kind is float:
        return -EXACT < cast(float, value) < EXACT
    if kind is dict:
        return all(map(exact, cast(Json, value).values()))
    if kind is list:
        return all(map(exact, cast(list[object], value)))
    return True


@lru_cache(maxsize=256)
def accepts(accept: bytes, content_type: bytes) -> bool:
    """True if the client takes JSON and event streams, and sends JSON."""
    request = Request({"type": "http", "headers": [(b"accept", accept)]})
    return all(check_accept_headers(request)) and content_type.partition(b";")[0] == b"application/json"
