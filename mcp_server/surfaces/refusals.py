"""A request that is refused before its route: in the shape in which its surface answers."""

from __future__ import annotations

import re

from starlette.requests import HTTPConnection
from starlette.responses import Response

from .mcp.door import refusal as rpc_error
from .openai.errors import error_body as openai_error
from .operations import as_json
from .rest.errors import error_response
from .step_answers import Refused
from .step_answers import refusal as step_error

MCP = re.compile(r"/(mcp(/(?!health/?$|tools/?$)[^/]*)?|sse|messages)/?")
OPENAI = re.compile(
    r"/v1/(models|chat/completions|files|responses)(/.*)?"
    r"|/(models(/(?!(production|compare|register|evaluate|batch)/?$)[^/]+/?)?)"
    r"|/((chat/completions|files|responses)/?|[^/]+/chat/?)"
)
"""`/models/` and what is below it by a word of its own, or deeper, is the registry's."""
STEPS = re.compile(r"/(pipeline|step|artifacts)/.*")
CODES = {
    400: "invalid_request",
    401: "invalid_api_key",
    403: "insufficient_scope",
    429: "rate_limit_exceeded",
}
"""What programs read beside the text."""


def refusal(connection: HTTPConnection, status: int, text: str) -> Response:
    """The answer: a JSON-RPC error for the protocol's paths, OpenAI's shape for its own, and so on."""
    scope = connection.scope
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    if MCP.fullmatch(path):
        return rpc_error(status, text)
    if OPENAI.fullmatch(path):
        return as_json(openai_error(status, text, code=CODES.get(status)), status)
    if STEPS.fullmatch(path):
        return step_error(connection, Refused(status, CODES.get(status, "refused"), text))
    return error_response(connection, status, text)
