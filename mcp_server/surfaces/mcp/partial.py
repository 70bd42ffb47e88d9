"""Partial results: streamed text as parts of a tool's result, before the result is there.

A draft (SEP-2998) that was closed without being adopted, so it is off unless the operator turns it on, and
sent only to a client that declares the capability `partialResults` and gives the call a token: with the call
in the modern era, with `initialize` in a session. The result stays complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import mcp_types as types

from ...models import Json
from .eras import Request, connection, is_modern

CAPABILITY = "partialResults"
TOKEN = "partialResultToken"


class PartialResult(types.Notification[Json, Literal["notifications/tools/partial_result"]]):
    """A part of the result of a call that goes on."""

    method: Literal["notifications/tools/partial_result"] = "notifications/tools/partial_result"


class Parts:
    """The parts of one call, numbered from 0."""

    def __init__(self, token: types.ProgressToken) -> None:
        self._token = token
        self._count = 0

    def next(self, text: str, meta: Json) -> PartialResult:
        """The next part: a block of text, with `meta` about it."""
        number, self._count = self._count, self._count + 1
        content = [{"type": "text", "text": text}]
        return PartialResult(params={TOKEN: self._token, "seq": number, "content": content, "_meta": meta})


def partial_token(request: Request) -> types.ProgressToken | None:
    """The token that parts of this call's result are to carry; None if its client does not ask for them."""
    meta: Mapping[str, Any] = request.meta or {}
    declared = meta.get(types.CLIENT_CAPABILITIES_META_KEY) if is_modern(request) else None
    knows = (
        CAPABILITY in declared if isinstance(declared, dict) else connection(request).state.get(CAPABILITY)
    )
    token = meta.get(TOKEN)
    return token if knows and isinstance(token, str | int) and not isinstance(token, bool) else None


def note_capability(request: Request) -> None:
    """Keep, with its session, that the client which sends `initialize` declares the capability.

    The SDK forgets the capabilities that it does not know.
    """
    declared: Any = (request.params or {}).get("capabilities")
    if isinstance(declared, dict) and CAPABILITY in declared:
        connection(request).state[CAPABILITY] = True
