"""The guard: what every HTTP request and websocket must satisfy before any route sees it.

A page in the operator's browser can reach a server on loopback, by a cross-origin request or by making a
name of its own point here (DNS rebinding). Both are told by the Host and Origin headers (MCP, transports,
security warning), so these are compared exactly, on every route and method.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .surfaces import BODY_LIMIT
from .surfaces.rest.errors import REQUEST_ID, RETRY_AFTER, error_response
from .telemetry import lines

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
WEB_PORTS = {"http": 80, "https": 443}
WEB_SCHEMES = {"ws": "http", "wss": "https"}
POLICY = 1008
"""Code of a websocket that is closed because it was not allowed (RFC 6455 section 7.4.1)."""
CLOSED = "The server is not open: whoever mounts it must take over its lifespan (lifespan=app.lifespan)."
FORM = "multipart/form-data"
UPLOADS = re.compile(r"/(run|files)/?$")
"""The paths of routes that take files."""
SIZE = re.compile(r"[0-9]{1,10}")
TIME = "X-Processing-Time-Ms"
IDENTITY = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""A request id we take over from a caller: it is echoed and logged."""


class Guard:
    """ASGI middleware. Answers 400, 403, 413, 421 or 503, or lets the request through with an id.

    `opened` tells whether there is anything behind it that could answer; `answered` hears of each status.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        uploads: int = BODY_LIMIT,
        opened: Callable[[], bool] = lambda: True,
        answered: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._app = app
        self._names = {*LOOPBACK, f"[{host}]" if ":" in host else host.lower()}
        self._hosts = {each.lower() for each in hosts}
        self._uploads = uploads
        self._opened = opened
        self._answered = answered
        self._origins = {each.lower().rstrip("/") for each in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        identity = request_id(scope)
        scope.setdefault("state", {})["request_id"] = identity
        lines.request_id.set(identity)
        if scope["type"] == "websocket":
            # closed before it is accepted: the HTTP server answers 403 to the handshake
            await (closed(send) if self._fault(scope) else self._app(scope, receive, send))
            return
        send = labelled(send, identity, self._answered)
        if fault := self._fault(scope):
            headers = RETRY_AFTER if fault[0] == 503 else {}
            await error_response(Request(scope), *fault, headers)(scope, receive, send)
        else:
            await self._app(scope, limited(receive, self._limit(scope)), send)

    def _fault(self, scope: Scope) -> tuple[int, str] | None:
        """The status and reason to refuse with."""
        hosts, origins = values(scope, b"host"), values(scope, b"origin")
        if len(hosts) != 1 or len(origins) > 1 or not scope["path"].startswith("/"):
            return 400, "A request needs one Host header, one Origin header at most, and a path."
        allowed = self._allowed(scope)
        if hosts[0] not in allowed:
            return 421, "The Host header does not name this server; --allowed-hosts adds names."
        if origins and origins[0] not in self._origins | pages(allowed):
            return 403, "Pages of this origin may not call this server; --allowed-origins adds origins."
        limit = self._limit(scope)
        if any(not SIZE.fullmatch(size) or int(size) > limit for size in values(scope, b"content-length")):
            return 413, too_large(limit)
        return None if self._opened() else (503, CLOSED)

    def _limit(self, scope: Scope) -> int:
        """Bytes that the body may have: more where a form is taken, whose files go to disk."""
        is_form = any(value.startswith(FORM) for value in values(scope, b"content-type"))
        return self._uploads if is_form and UPLOADS.search(scope["path"]) else BODY_LIMIT

    def _allowed(self, scope: Scope) -> set[str]:
        """The values of Host that mean this server, at the port where the request came in."""
        port = (scope.get("server") or ("", None))[1]
        own = {f"{name}:{port}" for name in self._names}
        scheme: str = scope["scheme"]
        web = WEB_PORTS.get(WEB_SCHEMES.get(scheme, scheme))
        bare = self._names if port in (None, web) else set[str]()
        return own | bare | self._hosts


async def closed(send: Send) -> None:
    """Refuse a websocket."""
    await send({"type": "websocket.close", "code": POLICY})


def values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header, in lower case and without blanks around."""
    return [value.decode("latin-1").strip().lower() for key, value in scope["headers"] if key == name]


def pages(hosts: set[str]) -> set[str]:
    """The origins of pages that these hosts serve."""
    return {f"{scheme}://{host}" for scheme in WEB_PORTS for host in hosts}


def request_id(scope: Scope) -> str:
    """The caller's id for this request if it is fit to be echoed, else a new one."""
    given = [value.decode("latin-1") for key, value in scope["headers"] if key == b"x-request-id"]
    return given[0] if given and IDENTITY.fullmatch(given[0]) else os.urandom(12).hex()


def limited(receive: Receive, limit: int) -> Receive:
    """A `receive` that refuses a body which grows beyond the limit while it comes in."""
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise HTTPException(413, too_large(limit))
        return message

    return count


def labelled(send: Send, identity: str, answered: Callable[[int], None]) -> Send:
    """A `send` that puts on the response the request's id, and the milliseconds until it began.

    `answered` is told its status.
    """
    since = time.perf_counter()

    async def label(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered(message["status"])
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = identity
            headers[TIME] = str(round(1000 * (time.perf_counter() - since)))
        await send(message)

    return label


def too_large(limit: int) -> str:
    """The reason for 413."""
    return f"The body is larger than {limit} bytes."
