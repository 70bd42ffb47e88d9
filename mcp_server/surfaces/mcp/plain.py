"""What a plain request is: a call of a tool or the list of all, well formed, that asks for nothing else.

Everything here errs to one side: what is not surely plain is left to the SDK, errors included. It is read
with every call, so it asks in few steps.
"""

from __future__ import annotations

from collections.abc import Sequence
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
META = frozenset({"_meta"})
NESTED = frozenset({float, dict, list})
"""What has to be looked into before it is known that it is exact."""
EXACT = 2.0**63
"""Numbers from here on may have been integers that a parser rounded."""

Headers = Sequence[tuple[bytes, bytes]]


class Head(NamedTuple):
    """What the headers of a request say that may be plain."""

    method: bytes | None
    """As a modern client repeats it; None in a session."""
    name: bytes | None
    session: str


class Plain(NamedTuple):
    """A plain request."""

    id: str | int
    tool: str | None
    """None for the list."""
    arguments: Json
    meta: Json | None
    """Of a modern request; None in a session."""
    session: str


def head_of(given: Headers) -> Head | None:
    """What these headers say; None if it is not plain, whatever the body holds."""
    headers = dict(given)
    if len(headers) != len(given) or not OTHERS.isdisjoint(headers):
        return None  # a header that came twice is for the SDK to judge
    if not accepts(headers.get(b"accept", b""), headers.get(b"content-type", b"")):
        return None
    version = headers.get(b"mcp-protocol-version")
    if version == MODERN:
        method = headers.get(b"mcp-method")
        if method is None or any(name.startswith(PARAM) for name in headers):
            return None
        return Head(method, headers.get(b"mcp-name"), "")
    session = headers.get(b"mcp-session-id")
    if not session or not (version is None or version in HANDSHAKE):
        return None
    return Head(None, None, session.decode("latin-1"))


def plain(body: bytes, head: Head, limit: int) -> Plain | None:
    """The message, of at most `limit` bytes, as a plain request; None for any other."""
    if len(body) > limit:
        return None
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if found.__class__ is not dict:
        return None
    message: Json = found
    method: Any = message.get("method")
    identity: Any = message.get("id")
    given: Any = message.get("params", NOTHING)
    if message.get("jsonrpc") != "2.0" or len(message) != 3 + ("params" in message):
        return None
    if given.__class__ is not dict or method.__class__ is not str or method not in METHODS:
        return None
    if identity.__class__ is not int and (identity.__class__ is not str or len(identity) > ID_LIMIT):
        return None
    params: Json = given
    if not (in_session(method, params) if head.method is None else agrees(method, params, head)):
        return None
    meta = None if head.method is None else params["_meta"]
    if method == LIST:
        return Plain(identity, None, NOTHING, meta, head.session)
    name: Any = params.get("name")
    arguments: Any = params.get("arguments", NOTHING)
    if not CALL.issuperset(params) or name.__class__ is not str or arguments.__class__ is not dict:
        return None
    inputs: Json = arguments
    for value in inputs.values():
        if type(value) in NESTED and not exact(value):
            return None
    return Plain(identity, name, inputs, meta, head.session)


def agrees(method: str, params: Json, head: Head) -> bool:
    """True for a message that stands for itself: header and body agree, its envelope holds nothing more."""
    envelope: Any = params.get("_meta")
    if envelope.__class__ is not dict or head.method != METHODS[method]:
        return False
    meta: Json = envelope
    if meta.get(VERSION) != LATEST_MODERN_VERSION or not ENVELOPE.issuperset(meta):
        return False
    name: Any = params.get("name")
    if method == LIST:
        return len(params) == 1
    return name.__class__ is str and head.name == name.encode()


def in_session(method: str, params: Json) -> bool:
    """True for one that belongs to a session; whether there is such a session, the session knows."""
    return params.get("_meta", NOTHING) == NOTHING and (method != LIST or params.keys() <= META)


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
