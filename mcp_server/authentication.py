"""Who calls, found out before any route sees the request; and whether the route is for them.

`Authentication` is ASGI middleware behind the guard: it puts a `Caller` into `scope["state"]["caller"]`, or
answers 401. `gated` makes each route answer 403 to callers that lack its scope (`access.table`). What comes
after the caller is known, such as rate limits and an audit log, is middleware of its own between the two:
it reads the caller from the state, and sees the status by wrapping `send`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from urllib.parse import parse_qs

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route, WebSocketRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import NOBODY, Access, Denied
from .access.denied import INVALID
from .access.held import Ended
from .access.keyring import NAMED
from .access.oauth import challenge
from .access.table import OPEN, ROUTES, WHOLE, needed
from .errors import Unavailable
from .models import Action, Caller
from .store.audit import DENIED, AuditEvent
from .surfaces.refusals import refusal

Denials = Callable[[AuditEvent], None]
SCHEMES = (b"bearer", b"apikey")
REQUIRED = "API key required"
CLOSE: Message = {"type": "websocket.close", "code": 1008}
"""Not allowed (RFC 6455 section 7.4.1)."""
LISTEN = (b"mcp-method", b"subscriptions/listen")
"""The header of a stream that is posted (2026-07-28)."""
SEVERAL = "Send one credential: Authorization, or X-API-Key."


class Authentication:
    """Answers 401 to a bad credential, and to none where one is needed; lets everything else through.

    The parts that others may add to: `access.authenticators`, and `challenge`.
    """

    def __init__(self, app: ASGIApp, *, access: Access, denied: Denials, in_query: bool = False) -> None:
        """`denied` hears of each that was turned away; `in_query` also takes a key as `?api_key=`."""
        self._app = app
        self._denied = denied
        self._in_query = in_query
        self._access = access
        paths = (path.partition(" ")[2] for path, need in ROUTES.items() if need is OPEN)
        self._open = [compile_path(path)[0] for path in paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["oauth"], state["denied"] = self._access.oauth, self._denied
        try:
            credential = credential_of(scope, in_query=self._in_query)
            state["caller"] = caller = await self._access.caller(credential, scope)
        except Ambiguous:
            await refuse(scope, receive, send, 400, SEVERAL, 'error="invalid_request"')
        except Unavailable as error:  # of the authorization server, the keys
            await refuse(scope, receive, send, 503, str(error))
        except Denied as denied:
            await self._deny(scope, receive, send, str(denied))
        else:
            if caller is NOBODY and not self._is_open(scope):
                await refuse(scope, receive, send, 401, REQUIRED)
            elif caller.expires is not None:
                self._access.held.expires(caller.name, caller.expires)
                until = None if calls(scope) else caller.expires
                await self._hold(caller, until, scope, receive, send)
            elif caller.name.startswith(NAMED):
                await self._hold(caller, None, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _hold(
        self, caller: Caller, until: float | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve whoever has a key or token, for as long as that is good."""
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            with self._access.held.by(caller.name, until):
                await self._app(scope, receive, watched)
        except Ended:
            if not started:
                await refuse(scope, receive, send, 401, INVALID, 'error="invalid_token"')
                return
            end = {"type": "http.response.body"} if scope["type"] == "http" else CLOSE
            with suppress(RuntimeError):  # it had ended, or has a length that is not reached
                await send(end)

    async def _deny(self, scope: Scope, receive: Receive, send: Send, text: str) -> None:
        peer = (scope.get("client") or ("",))[0]
        if (wait := self._access.attempts.failed(peer)) is not None:
            headers = {"Retry-After": str(math.ceil(wait))}
            await refuse(scope, receive, send, 429, "Too many bad credentials.", headers=headers)
        else:
            await refuse(scope, receive, send, 401, text, 'error="invalid_token"')

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        return any(pattern.fullmatch(path) for pattern in self._open)


class Ambiguous(Exception):
    """A request with several credentials (RFC 6750 section 2)."""


def calls(scope: Scope) -> bool:
    """True for what ends by itself, and may where its token has expired meanwhile: no stream that listens."""
    return scope.get("method") == "POST" and LISTEN not in scope["headers"]


def credential_of(scope: Scope, *, in_query: bool = False) -> str | None:
    """What came after `Bearer` or `ApiKey`, or in `X-API-Key`, or `?api_key=` if that is wanted.

    Raises `Ambiguous` for two that differ.
    """
    found: bytes | None = None
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, credential = value.strip().partition(b" ")
            if scheme.lower() not in SCHEMES:
                continue
            given = credential.strip()
        elif name == b"x-api-key":
            given = value.strip()
        else:
            continue
        if found is not None and given != found:
            raise Ambiguous
        found = given
    if in_query and found is None and b"api_key=" in scope["query_string"]:
        return parse_qs(scope["query_string"].decode("latin-1")).get("api_key", [None])[0]
    return None if found is None else found.decode("latin-1")


class Gate:
    """The app of one route; answers 403 to callers that lack what it needs."""

    def __init__(self, app: ASGIApp, path: str, methods: Iterable[str] | None) -> None:
        """Without methods all of them reach the route; a websocket counts as GET."""
        self._app = app
        self._needs: dict[str, Action | None] = {method: needed(method, path) for method in methods or ()}
        self._whole = path.rstrip("/") in WHOLE
        self._otherwise: Action | None = None if methods else needed("*", path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        need = self._needs.get(scope.get("method", "GET"), self._otherwise)
        caller: Caller = scope["state"]["caller"]
        if need is None or (need in caller.scopes if self._whole else caller.may(need)):
            await self._app(scope, receive, send)
        else:
            text = f"This needs the scope {need}."
            about = f'error="insufficient_scope", error_description="{text}"'
            await refuse(scope, receive, send, 403, text, about, need=need)


def gated(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The same routes, each behind its gate. Raises `KeyError` for one that the table does not list."""
    made = list(routes)
    for route in made:
        assert isinstance(route, Route | WebSocketRoute), "what a surface mounts has a path of its own"
        route.app = Gate(route.app, route.path, route.methods if isinstance(route, Route) else {"GET"})
    return made


def event_of(scope: Scope, status: int) -> AuditEvent:
    """What the audit log has of a request that was turned away: who wanted what, and no credential."""
    caller: Caller | None = scope["state"].get("caller")
    what = "login" if status == 401 else f"{scope.get('method', 'GET')} {scope['path']}"
    peer = (scope.get("client") or ("",))[0]
    return AuditEvent(what, caller.name if caller else "", "http", peer, outcome=DENIED)


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    status: int,
    text: str,
    about: str = "",
    headers: Mapping[str, str] = MappingProxyType({}),
    need: Action | None = None,
) -> None:
    """Answer in the way of the surface that was asked, with a challenge (RFC 6750 section 3)."""
    if status == 403 or "invalid_token" in about:
        scope["state"]["denied"](event_of(scope, status))
    answer = refusal(HTTPConnection(scope), status, text)
    if status in (400, 401, 403):
        answer.headers["WWW-Authenticate"] = challenge(scope, about, need)
    answer.headers.update(headers)
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await answer(scope, receive, send)
    else:
        await send(CLOSE)
