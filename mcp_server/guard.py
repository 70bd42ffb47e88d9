"""The guard: what every HTTP request and websocket must satisfy before any route sees it.

A page in the operator's browser can reach a server on loopback, by a cross-origin request or by making a
name of its own point here (DNS rebinding). Both are told by the Host and Origin headers (MCP, transports,
security warning), so these are compared exactly, on every route and method.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import cors
from .bodies import Bodies, Body, Counted, fits, too_large
from .settings import Settings
from .surfaces.rest.errors import RETRY_AFTER, error_response
from .telemetry import lines

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
WEB_PORTS = {"http": 80, "https": 443}
WEB_SCHEMES = {"ws": "http", "wss": "https"}
POLICY = 1008
"""Code of a websocket that is closed because it was not allowed (RFC 6455 section 7.4.1)."""
CLOSED = "The server is not open: whoever mounts it must take over its lifespan (lifespan=app.lifespan)."
STOPPING = "The server is stopping; it answers what it has begun, and nothing else."
STILL = re.compile(r"/(live|ready|health|metrics|version|status|mcp|messages)(/[^/]*)?/?$")
"""The paths that a stopping server answers: what tells how it is, and MCP's, whose calls in flight may wait
for what their client posts; MCP's own check refuses new ones."""
OWN_SITES = ("same-origin", "none")
"""What Sec-Fetch-Site says of our own pages, and of an address that somebody typed (W3C, Fetch Metadata)."""
IDENTITY = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""A request id we take over from a caller: it is echoed and logged."""
NOSNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")
REQUEST_ID, TAKEN = b"x-request-id", b"x-processing-time-ms"
MALFORMED = (400, "A request needs one Host header, one Origin header at most, and a path.")
KNOWN = 1000
"""Judgements that are remembered."""
LONGEST = 1000
"""Bytes of the headers of one of them."""


class Guard:
    """ASGI middleware. Answers 400, 403, 413, 421 or 503, or lets the request through with an id.

    `opened` tells whether there is anything behind it that could answer, `stopping` whether it is to end;
    `answered` hears of each status.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        opened: Callable[[], bool] = lambda: True,
        answered: Callable[[int], None] = lambda status: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        host = settings.host
        self._app = app
        self._names = {*LOOPBACK, f"[{host}]" if ":" in host else host.lower()}
        self._hosts = {each.lower() for each in settings.allowed_hosts}
        self._origins = {each.lower().rstrip("/") for each in settings.allowed_origins}
        self._bodies = Bodies(settings)
        self._opened = opened
        self._stopping = stopping
        self._answered = answered
        self._known: dict[tuple[object, ...], tuple[int, str] | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = first_values(scope)
        identity = request_id(headers.get(b"x-request-id"))
        scope.setdefault("state", {})["request_id"] = identity
        lines.request_id.set(identity)
        about = self._bodies.about(scope["path"], headers)
        fault = self._fault(scope, headers, about)
        if kind == "http":
            send = labelled(send, identity, self._answered)
            if fault or self._origins:
                await self._across(scope, receive, send, fault, about)
            else:
                await self._pass(scope, receive, send, about)
        elif fault:
            await closed(send)  # before it is accepted: the HTTP server answers 403 to the handshake
        else:
            await self._app(scope, receive, send)

    async def _across(
        self, scope: Scope, receive: Receive, send: Send, fault: tuple[int, str] | None, about: Body
    ) -> None:
        """Serve what is refused, and what may come from the pages of other origins."""
        if self._origins and (origins := values(scope, b"origin")) and origins[0] in self._origins:
            send = cors.readable(send, origins[0])
        if fault:
            headers = RETRY_AFTER if fault[0] == 503 else {}
            await error_response(Request(scope), *fault, headers)(scope, receive, send)
        elif cors.asks_first(scope):
            await cors.permission(scope)(scope, receive, send)
        else:
            await self._pass(scope, receive, send, about)

    async def _pass(self, scope: Scope, receive: Receive, send: Send, about: Body) -> None:
        body = Counted(self._bodies, receive, about)
        try:
            await self._app(scope, body, send)
        finally:
            body.close()

    def _fault(self, scope: Scope, headers: Mapping[bytes, bytes], about: Body) -> tuple[int, str] | None:
        """The status and reason to refuse with."""
        if not scope["path"].startswith("/"):
            return MALFORMED
        if fault := self._origin_fault(scope, headers):
            return fault
        size = headers.get(b"content-length")
        if size is not None and (not fits(size, about.limit) or len(headers) != len(scope["headers"])):
            sizes = values(scope, b"content-length")
            if not all(fits(each.encode("latin-1"), about.limit) for each in sizes):
                return 413, too_large(about.limit)
        if self._stopping() and not STILL.search(scope["path"]):
            return 503, STOPPING
        return None if self._opened() else (503, CLOSED)

    def _origin_fault(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[int, str] | None:
        """What Host and Origin say against it, which is judged once for all that say the same."""
        if len(headers) != len(scope["headers"]):
            return self._judged(scope)
        said = (headers.get(b"host"), headers.get(b"origin"), headers.get(b"sec-fetch-site"))
        key = (*said, scope["scheme"], scope.get("server"))
        try:
            return self._known[key]
        except (KeyError, TypeError):  # what is no tuple is judged each time
            fault = self._judged(scope)
        if isinstance(scope.get("server"), tuple) and sum(len(each or b"") for each in said) < LONGEST:
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[key] = fault
        return fault

    def _judged(self, scope: Scope) -> tuple[int, str] | None:
        hosts, origins = values(scope, b"host"), values(scope, b"origin")
        if len(hosts) != 1 or len(origins) > 1:
            return MALFORMED
        allowed = self._allowed(scope)
        if hosts[0] not in allowed:
            return 421, "The Host header does not name this server; --allowed-hosts adds names."
        if origins and origins[0] not in self._origins | pages(allowed):
            return 403, "Pages of this origin may not call this server; --allowed-origins adds origins."
        if not origins and any(site not in OWN_SITES for site in values(scope, b"sec-fetch-site")):
            return 403, "Pages of other sites may not call this server."
        return None

    def _allowed(self, scope: Scope) -> set[str]:
        """The values of Host that mean this server, at the port where the request came in."""
        here, port = scope.get("server") or ("", None)
        own = {f"{name}:{port}" for name in self._names | addressed(here)}
        scheme: str = scope["scheme"]
        web = WEB_PORTS.get(WEB_SCHEMES.get(scheme, scheme))
        bare = self._names if port in (None, web) else set[str]()
        return own | bare | self._hosts


def addressed(host: str) -> set[str]:
    """How Host names the address that the connection came to; nothing for what is no address.

    No name of an attacker's can be made to read so, which makes it as good as our own.
    """
    try:
        return {f"[{host}]" if ip_address(host).version == 6 else host}
    except ValueError:
        return set()


async def closed(send: Send) -> None:
    """Refuse a websocket."""
    await send({"type": "websocket.close", "code": POLICY})


def values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header, in lower case and without blanks around."""
    return [value.decode("latin-1").strip().lower() for key, value in scope["headers"] if key == name]


def pages(hosts: set[str]) -> set[str]:
    """The origins of pages that these hosts serve."""
    return {f"{scheme}://{host}" for scheme in WEB_PORTS for host in hosts}


def first_values(scope: Scope) -> dict[bytes, bytes]:
    """The headers by name; of one that came several times, the first."""
    return dict(reversed(scope["headers"]))


def request_id(given: bytes | None) -> str:
    """The caller's id for this request if it is fit to be echoed, else a new one, which is no secret."""
    if given is not None and IDENTITY.fullmatch(text := given.decode("latin-1")):
        return text
    return random.getrandbits(96).to_bytes(12, "big").hex()


def labelled(send: Send, identity: str, answered: Callable[[int], None]) -> Send:
    """A `send` that puts on the response the request's id and the milliseconds until it began, and tells
    browsers to take it for what it says it is, and to keep nothing that does not say how long.

    `answered` is told its status.
    """
    since = time.perf_counter()

    async def label(message: Message) -> None:
        if message["type"] == "http.response.start":
            answered(message["status"])
            given = message.get("headers", ())
            names = dict(given)
            headers = [each for each in given if each[0] != REQUEST_ID] if REQUEST_ID in names else [*given]
            headers += labels(identity, time.perf_counter() - since)
            if b"cache-control" not in names:
                headers.append(NO_STORE)
            message = {**message, "headers": headers}
        await send(message)

    return label


def labels(identity: str, seconds: float) -> tuple[tuple[bytes, bytes], ...]:
    """What every response says: the id of its request, and how long it took to begin."""
    return (REQUEST_ID, identity.encode()), (TAKEN, b"%d" % round(1000 * seconds)), NOSNIFF
