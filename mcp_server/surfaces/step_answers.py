"""Answers and errors of the step routes, in the shape their seed gives them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from ..errors import Conflict, Invalid, Limited, NotFound, Overloaded, ServerError, Unanswered
from ..models import Caller, Json
from ..stepwise import Stepwise
from ..stepwise.moves import Stands
from ..stepwise.showing import moment
from ..store.tree import Walk
from .callers import caller_of
from .parsing import TooDeep, loads
from .rest.errors import retrying

CODES: tuple[tuple[type[ServerError], int, str], ...] = (
    (NotFound, 404, "pipeline_not_found"),
    (Invalid, 400, "validation_error"),
    (Conflict, 409, "invalid_state_transition"),
    (Unanswered, 502, "llm_provider_error"),
    (Limited, 429, "rate_limit_exceeded"),
    (Overloaded, 503, "overloaded"),
    (ServerError, 500, "storage_error"),
)
"""Which refusal has which status and code; the first that fits."""

UNCACHED: Mapping[str, str] = MappingProxyType({"Cache-Control": "no-cache, no-store"})
"""What every answer says of itself: the state of a run is never cached."""

B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True)
class Answer:
    """What a route gives: a body, its status, the run it is about."""

    body: Json
    status: int
    walk: Walk
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class Refused(Exception):
    """A refusal in the seed's own terms."""

    def __init__(self, status: int, code: str, message: str, details: Json | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or {}


Handler = Callable[[Request, Caller], Awaitable[Answer]]


def answering(handler: Handler, stepwise: Stepwise) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint of a handler: its answer with the seed's headers, its refusal in the seed's shape."""

    async def answer(request: Request) -> Response:
        caller = caller_of(request, "rest")
        try:
            given = await handler(request, caller)
        except Refused as refused:
            return refusal(request, refused)
        except ServerError as error:
            return refusal(request, await told(request, error, caller, stepwise), retrying(error))
        headers = {
            "X-Pipeline-Run-ID": given.walk.id,
            "X-Pipeline-State-Version": str(given.walk.revision),
            **UNCACHED,
            **given.headers,
        }
        return tagged(request, JSONResponse(given.body, given.status, headers))

    return answer


def tagged(request: Request, response: Response) -> Response:
    """What was read, with the ETag of its body; 304 if the client has just that (RFC 9110 section 13.1.2)."""
    if request.method != "GET":
        return response
    tag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if tag not in known and "*" not in known:
        return response
    kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return Response(status_code=304, headers=kept)


async def told(request: Request, error: ServerError, caller: Caller, stepwise: Stepwise) -> Refused:
    """The refusal of the core in the seed's terms; it tells a step in progress from other conflicts."""
    status, code = next((status, code) for kind, status, code in CODES if isinstance(error, kind))
    details: Json = {}
    if isinstance(error, Conflict):  # how the run stood when it was refused, whatever happened since
        stands = error.walk if isinstance(error, Stands) else None
        walk = stands or await stepwise.find(caller, str(request.path_params["run_id"]))
        details = {"current_step": walk.head.step if walk.head else None, "step_status": walk.status.upper()}
        code = "step_in_progress" if walk.status == "running" else code
    return Refused(status, code, str(error), details)


def refusal(request: HTTPConnection, refused: Refused, headers: Mapping[str, str] = UNCACHED) -> Response:
    """The seed's error."""
    body = {
        "error": refused.code,
        "message": refused.message,
        "details": refused.details,
        "timestamp": moment(time.time()),
        "request_id": request.state.request_id,
    }
    return JSONResponse(body, refused.status, {**UNCACHED, **headers})


async def body_of(request: Request, model: type[B]) -> B:
    """The posted JSON object; nothing at all is an empty one. Raises `Refused` with the field at fault."""
    try:
        given: Any = loads(await request.body() or b"{}")
        return model.model_validate(given)
    except TooDeep as fault:
        raise Refused(400, "validation_error", str(fault)) from None
    except orjson.JSONDecodeError:
        raise Refused(400, "validation_error", "The body must be a JSON object.") from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "body"
        missing = first["type"] == "missing"
        message = f"{name} is required" if missing else f"{name}: {first['msg']}"
        details: Json = {"field": name, "constraint": "required" if missing else first["msg"]}
        raise Refused(400, "validation_error", message, details) from None


def number(request: Request, name: str, default: int) -> int:
    """A query parameter that is a number from 1."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 10 and int(text) > 0):
        details: Json = {"field": name, "constraint": "a whole number from 1"}
        raise Refused(400, "validation_error", f"{name} must be a whole number from 1", details)
    return int(text)


def flag(request: Request, name: str, *, default: bool) -> bool:
    """A query parameter that is true or false."""
    text = request.query_params.get(name, str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        details: Json = {"field": name, "constraint": "true or false"}
        raise Refused(400, "validation_error", f"{name} must be true or false", details)
    return text in ("true", "1")
