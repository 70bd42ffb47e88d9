"""Rate limits on HTTP: what callers with a key or token ask for is counted before any route sees it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits.rates import REFUSED, UNCOUNTED, Kind, Rates, Standing
from .models import Caller
from .surfaces.refusals import STEPS, refusal

KINDS: tuple[tuple[str, re.Pattern[str], Kind], ...] = (
    ("POST", re.compile(r"/(deploy_files|deploy-yaml|pipelines/deploy)/?"), "register"),
    ("POST", re.compile(r"(/api)?/models/register/?"), "register"),
    ("GET", re.compile(r"(/api)?/models/.+/lineage/?"), "lineage"),
    ("GET", re.compile(r"(/api)?/models/contributors/[^/]+/impact/?"), "impact"),
)
"""The routes that are counted once more, by themselves."""
STEP_NAMES = ("X-RateLimit-Remaining", "X-RateLimit-Reset")
POLICY = 1008


class RateLimits:
    """ASGI middleware behind `Authentication`. Answers 429, or lets through and says what is left."""

    def __init__(self, app: ASGIApp, *, rates: Rates) -> None:
        self._app = app
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        caller: Caller = scope["state"]["caller"]
        standing = None
        if caller.name not in UNCOUNTED:
            standing = counted(scope, caller) or await self._rates.request(caller, kind_of(scope))
        if standing is None:
            await self._app(scope, receive, send)
        elif standing.after is None:
            await self._app(scope, receive, headed(send, headers(scope, standing)))
        elif scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            answer = refusal(HTTPConnection(scope), 429, REFUSED)
            answer.headers.update(headers(scope, standing))
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": POLICY})


def counted(scope: Scope, caller: Caller) -> Standing | None:
    """How the caller stands if this request was counted before it came here; see `surfaces.mcp.express`."""
    name, standing = scope["state"].get("counted", ("", None))
    return standing if name == caller.name else None


def kind_of(scope: Scope) -> Kind | None:
    """What the request is counted as beside being one."""
    method, path = scope.get("method", "GET"), path_of(scope)
    return next((kind for verb, form, kind in KINDS if verb == method and form.fullmatch(path)), None)


def headers(scope: Scope, standing: Standing) -> Mapping[str, str]:
    """What the caller has left, when it has all again (seconds since the epoch), when to try again."""
    told = standing.told()
    if STEPS.fullmatch(path_of(scope)):  # their clients know other names
        told |= {name.replace("RateLimit", "Rate-Limit"): told[name] for name in STEP_NAMES}
    if standing.after is not None:
        told["Retry-After"] = str(max(1, math.ceil(standing.after)))
    return told


def path_of(scope: Scope) -> str:
    """The path below where the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def headed(send: Send, told: Mapping[str, str]) -> Send:
    """A `send` that puts these headers on the response."""

    async def head(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(told)
        await send(message)

    return head
