"""Who calls, found out before any route sees the request; and whether the route is for them.

`Authentication` is ASGI middleware behind the guard: it puts a `Caller` into `scope["state"]["caller"]`, or
answers 401. `gated` makes each route answer 403 to callers that lack its scope (`access.table`). What comes
after the caller is known, such as rate limits and an audit log, is middleware of its own between the two:
it reads the caller from the state, and sees the status by wrapping `send`.
"""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Route, WebSocketRoute, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import NOBODY, Access, Denied
from .access.table import OPEN, ROUTES, needed
from .models import Action, Caller
from .surfaces.refusals import refusal

SCHEMES = (b"bearer", b"apikey")
REQUIRED = "API key required"
SEVERAL = "Send one credential: Authorization, or X-API-Key."


class Authentication:
    """Answers 401 to a bad credential, and to none where one is needed; lets everything else through.

    The parts that others may add to: `access.authenticators`, and `challenge`.
    """

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access
        paths = (path.partition(" ")[2] for path, need in ROUTES.items() if need is OPEN)
        self._open = [compile_path(path)[0] for path in paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        try:
            credential = credential_of(scope)
            state["caller"] = caller = await self._access.caller(credential, scope)
        except Ambiguous:
            await refuse(scope, receive, send, 400, SEVERAL, 'error="invalid_request"')
        except Denied as denied:
            await refuse(scope, receive, send, 401, str(denied), 'error="invalid_token"')
        else:
            if caller is NOBODY and not self._is_open(scope):
                await refuse(scope, receive, send, 401, REQUIRED)
            else:
                await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"].removeprefix(scope.get("root_path", "")).rstrip("/")
        return any(pattern.fullmatch(path) for pattern in self._open)


class Ambiguous(Exception):
    """A request with several credentials (RFC 6750 section 2)."""


def credential_of(scope: Scope) -> str | None:
    """What came after `Bearer` or `ApiKey`, or in `X-API-Key`. Raises `Ambiguous` for two that differ."""
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
    return None if found is None else found.decode("latin-1")


class Gate:
    """The app of one route; answers 403 to callers that lack what it needs."""

    def __init__(self, app: ASGIApp, path: str, methods: Iterable[str] | None) -> None:
        """Without methods all of them reach the route; a websocket counts as GET."""
        self._app = app
        self._needs: dict[str, Action | None] = {method: needed(method, path) for method in methods or ()}
        self._otherwise: Action | None = None if methods else needed("*", path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        need = self._needs.get(scope.get("method", "GET"), self._otherwise)
        caller: Caller = scope["state"]["caller"]
        if need is None or caller.may(need):
            await self._app(scope, receive, send)
        else:
            text = f"This needs the scope {need}."
            about = f'error="insufficient_scope", error_description="{text}", scope="{need}"'
            await refuse(scope, receive, send, 403, text, about)


def gated(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The same routes, each behind its gate. Raises `KeyError` for one that the table does not list."""
    made = list(routes)
    for route in made:
        assert isinstance(route, Route | WebSocketRoute), "what a surface mounts has a path of its own"
        route.app = Gate(route.app, route.path, route.methods if isinstance(route, Route) else {"GET"})
    return made


async def refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str, about: str = "") -> None:
    """Answer in the way of the surface that was asked, with a challenge (RFC 6750 section 3)."""
    answer = refusal(HTTPConnection(scope), status, text)
    answer.headers["WWW-Authenticate"] = challenge(scope, about)
    if scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
        await answer(scope, receive, send)
    else:
        await send({"type": "websocket.close", "code": 1008})


def challenge(scope: Scope, about: str) -> str:
    """What to prove, and why what came did not."""
    return ", ".join(filter(None, ['Bearer realm="mcp-server"', about]))
