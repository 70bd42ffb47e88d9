"""What a request brings: a JSON object, a version or stage, a timeout, a key."""

from __future__ import annotations

import math
from typing import Any, TypeVar, cast, get_args

import orjson
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...catalog import Stage
from ...catalog.versions import version_number
from ...errors import Invalid
from ...models import Client, Json
from ...telemetry.spans import carried
from ..parsing import TooDeep, loads

B = TypeVar("B", bound=BaseModel)
SHOWN, FAULT_LIMIT = 3, 500
"""Faults of a body told at once, and characters of all of them."""
KEY_LIMIT = 256
"""Characters of an idempotency key."""


async def json_object(request: Request) -> Json:
    """The body; nothing is an empty object. Raises `Invalid`, and HTTP's 415 for a type other than JSON."""
    kind = media_type(request)
    if has_body(request) and kind and kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(415, "Send the body as application/json.")
    body = await request.body()
    try:
        given: Any = loads(body or b"{}")
    except TooDeep as fault:
        raise Invalid(str(fault)) from None
    except orjson.JSONDecodeError:
        raise Invalid("The body is not JSON.") from None
    if not isinstance(given, dict):
        raise Invalid("The body must be a JSON object.")
    return cast(Json, given)


async def parsed(request: Request, model: type[B]) -> B:
    """The body as that model. Raises `Invalid` that names each field at fault, and as `json_object`."""
    try:
        return model.model_validate(await json_object(request))
    except ValidationError as error:
        faults = (f"`{'.'.join(map(str, each['loc']))}`: {each['msg']}" for each in error.errors()[:SHOWN])
        raise Invalid("; ".join(faults)[:FAULT_LIMIT]) from None


def has_body(request: Request) -> bool:
    """True if the request says that it has one."""
    return request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers


def media_type(request: Request) -> str:
    """The type of the body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def wanted_version(request: Request) -> int | None:
    """`?version=`. Raises `Invalid` for what is no number from 1."""
    text = request.query_params.get("version")
    if text is None:
        return None
    if (number := version_number(text)) is None:
        raise Invalid("`version` must be a whole number from 1.")
    return number


def wanted_stage(request: Request) -> Stage | None:
    """`?stage=`. Raises `Invalid` for a word that is no stage."""
    text = request.query_params.get("stage")
    if text is not None and text not in get_args(Stage):
        raise Invalid(f"`stage` must be one of {', '.join(get_args(Stage))}.")
    return cast(Stage | None, text)


def wanted_timeout(request: Request) -> float | None:
    """`?timeout=` in seconds. Raises `Invalid` for what is no number above 0."""
    text = request.query_params.get("timeout")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise Invalid("`timeout` must be a number of seconds above 0.")
    return seconds


def wanted_key(request: Request) -> str | None:
    """The header `Idempotency-Key`. Raises `Invalid` for one that is empty or too long."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= KEY_LIMIT:
        raise Invalid(f"`Idempotency-Key` must have 1 to {KEY_LIMIT} characters.")
    return key


def client_of(request: Request, shared: tuple[str, ...]) -> Client:
    """The client with the headers that the operator lets pipelines see (the setting `shared_headers`)."""
    headers = request.headers
    shown = {name.lower(): headers[name] for name in shared if name in headers}
    return Client(headers=shown, trace=carried(headers))
