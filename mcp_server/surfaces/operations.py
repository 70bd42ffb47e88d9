"""A route as a value: what answers it, and what OpenAPI is to say of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..content.encoder import dump
from ..models import Json
from . import Surface

TEXT: Json = {"type": "string"}
TEXTS: Json = {"type": "array", "items": TEXT}
OBJECT: Json = {"type": "object"}

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Operation:
    """One method of one path. Schemas are JSON Schema 2020-12, as OpenAPI 3.1 takes them.

    Every operation may also answer with the error of `errors.error_response`.
    """

    method: str
    path: str
    """With its parameters in braces, as OpenAPI and Starlette write them."""
    handle: Handler
    summary: str
    description: str = ""
    query: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """The query parameters with their schemas; all are optional."""
    headers: Mapping[str, Json] = field(default_factory=dict[str, Json])
    """The request headers it reads."""
    takes: Json | None = None
    """The schema of its body; None without one."""
    answer: Json | None = None
    """The schema of its answer as JSON."""
    status: int = 200
    media: tuple[str, ...] = ("application/json",)
    """The types its answer may have."""
    tag: str | None = None
    """What it is grouped by; None for its path to say so."""


def gives(**properties: Json) -> Json:
    """The schema of an answer that has at least these, where they are known."""
    return {"type": "object", "properties": properties}


def iso(seconds: float | None = None) -> str:
    """A time in UTC, to the second (RFC 3339); now if none is given."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def as_json(body: Json, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A response as JSON."""
    return Response(dump(body), status, headers, "application/json")


def mounted(operations: Sequence[Operation]) -> Surface:
    """The surface that consists of these."""
    return Surface(routes(operations), operations=operations)


def routes(operations: Iterable[Operation]) -> list[BaseRoute]:
    """Each path once, with and without a slash at the end, since a redirect costs a round trip.

    One that is declared with a slash has only that.
    """
    paths: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = operation.handle
    return [
        route(path + end, handlers)
        for path, handlers in paths.items()
        for end in (("",) if path.endswith("/") else ("", "/"))
    ]


def route(path: str, handlers: Mapping[str, Handler]) -> BaseRoute:
    """All methods of a path; another one gets 405 with those that are allowed, OPTIONS tells them."""
    methods = {*handlers, "OPTIONS"} | ({"HEAD"} if "GET" in handlers else set[str]())
    allowed = sorted(methods)

    async def handle(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(allowed)})
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, handle, methods=allowed)
