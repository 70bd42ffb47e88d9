"""How errors look over HTTP: which refusal has which status, and one shape for them all."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from ...errors import Conflict, Invalid, Limited, NotFound, Overloaded, ServerError, Unavailable
from ...models import Json
from ..operations import iso

CODES: tuple[tuple[type[ServerError], int], ...] = (
    (NotFound, 404),
    (Invalid, 400),
    (Conflict, 409),
    (Limited, 429),
    (Unavailable, 503),
)
"""Which refusal has which HTTP status; any other is 500."""

WORDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "method_not_allowed_error",
    409: "conflict_error",
    413: "request_too_large_error",
    415: "unsupported_media_type_error",
    421: "misdirected_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}
"""The `type` that goes with an HTTP status; any other is `server_error`."""

LEFT = 499
"""The status of a request whose client has left, as web servers log it."""
RETRY_AFTER = {"Retry-After": "1"}
REQUEST_ID = "X-Request-ID"


async def answer_refusal(request: Request, error: Exception) -> Response:
    """The answer to a refusal of the core."""
    code = next((code for kind, code in CODES if isinstance(error, kind)), 500)
    return error_response(request, code, str(error), retrying(error))


def retrying(error: Exception) -> Mapping[str, str]:
    """The header that says when to try again, for what may then succeed (RFC 9110 section 10.2.3)."""
    if isinstance(error, Limited | Overloaded):
        return {"Retry-After": str(max(1, ceil(error.after)))}
    return RETRY_AFTER if isinstance(error, Unavailable) else {}


async def answer_http_error(request: Request, error: Exception) -> Response:
    """The answer when no route fits, or a route refuses in HTTP's own terms."""
    assert isinstance(error, HTTPException)
    return error_response(request, error.status_code, error.detail, error.headers or {})


async def answer_nobody(request: Request, error: Exception) -> Response:
    """What ends a request whose client has left; nobody sees it but the log of accesses."""
    return Response(status_code=LEFT)


async def answer_fault(request: Request, error: Exception) -> Response:
    """The answer to an error nobody handled; its traceback is logged by the HTTP server."""
    return error_response(request, 500, "The server failed inside; its log says why.")


def error_response(
    request: HTTPConnection, code: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """One shape for every error: OpenAI's `error`, FastAPI's `detail`, and what helps to find it in a log."""
    body = error_body(request, code, message)
    return JSONResponse(body, code, {**(headers or {}), REQUEST_ID: body["request_id"]})


def error_body(request: HTTPConnection, code: int, message: str) -> Json:
    """The error as JSON."""
    error = {"message": message, "type": WORDS.get(code, "server_error"), "code": code}
    return {
        "error": error,
        "detail": message,
        "request_id": request.state.request_id,
        "timestamp": iso(),
    }
