"""Errors as OpenAI's clients read them: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ...errors import Limited, NotFound, Overloaded, ServerError
from ...models import Json
from ..listening import Listening
from ..management.run_views import parked
from ..operations import Handler, as_json
from ..rest.answers import problem
from ..rest.errors import CODES, retrying

NO_RETRY = {"x-should-retry": "false"}
"""Tells OpenAI's clients not to send again by themselves what would only fail again, or run twice."""
FAILED = "pipeline_failed"
WORDS: tuple[tuple[type[ServerError], str], ...] = (
    (NotFound, "not_found"),
    (Limited, "rate_limit_exceeded"),
    (Overloaded, "overloaded"),
)
"""The `code` of a refusal, where OpenAI has one."""


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(status, message, param, code)


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> Json:
    """The error as JSON."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def unknown_model(model: str, why: str = "does not exist") -> Refused:
    """The refusal of a model that is not there, or is none."""
    message = f"The model `{model[:64]}` {why}. GET /v1/models lists those that are."
    return Refused(404, message, "model", "model_not_found")


def fault(heard: Listening) -> Refused | None:
    """Why a run gave no answer; None if it gave one."""
    if heard.question is not None:
        return Refused(409, parked(heard.live, heard.question), code="input_required")
    if found := problem(heard.run):
        return Refused(*found, code=FAILED if found[0] >= 500 else None)
    return None


def answering(handle: Handler) -> Handler:
    """The handler with every refusal in OpenAI's shape."""

    async def answer(request: Request) -> Response:
        try:
            return await handle(request)
        except Refused as refused:
            return as_json(refused.body, refused.status, NO_RETRY)
        except ServerError as error:
            status = next((code for kind, code in CODES if isinstance(error, kind)), 500)
            code = next((word for kind, word in WORDS if isinstance(error, kind)), None)
            return as_json(error_body(status, str(error), code=code), status, retrying(error) or NO_RETRY)
        except HTTPException as error:
            headers: Mapping[str, str] = error.headers or {}
            return as_json(error_body(error.status_code, error.detail), error.status_code, headers)

    return answer
