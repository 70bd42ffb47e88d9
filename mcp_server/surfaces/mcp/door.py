"""What is checked on a posted message before the SDK reads it: form, id, size, blanks around headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

import mcp_types as types
import orjson
from mcp.shared.dispatcher import coerce_request_id
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...models import Json
from ...server import Server
from ..parsing import TooDeep, loads
from .begun import has_begun

LARGE = frozenset({"deploy_pipeline", "import_run"})
"""The tools that take files: their calls may have the size of a deploy."""
BEGINNING = frozenset({"initialize", "tools/call", "subscriptions/listen"})
"""The requests that begin something. A stopping server refuses these; others may be about what goes on, as a
client may ask for the schema of the answer that it got."""
STOPPING = "The server is stopping; it answers what it has begun, and nothing else."
ID_LIMIT = 256
"""Characters an id may have; it is echoed."""

Flight = tuple[str, str, types.RequestId]
"""A caller's name, a session id, and the id of a request in it; 7 and "7" are one, as they are to the SDK."""


Flights = dict[Flight, object]
"""The requests that are being served, each with what stands for its being served."""


def never(caller: str, session: str, request_id: types.RequestId) -> bool:
    """Nothing is known of requests whose response comes another way."""
    return False


def welcome(scope: Scope, message: Json) -> Response | None:
    """A judge that refuses nothing."""


class Door:
    """Wraps one of the SDK's ASGI apps; refuses with a JSON-RPC error that has no id.

    A request is in flight while its POST is being served, and as long as `in_flight` says so: its stream may
    be closed before it is answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        server: Server,
        in_flight: Callable[[str, str, types.RequestId], bool] = never,
        judge: Callable[[Scope, Json], Response | None] = welcome,
        flights: Flights | None = None,
    ) -> None:
        """`judge` may refuse a message that is well formed; `flights` are those that are being served, if
        others serve some, too."""
        self._app = app
        self._server = server
        self._judge = judge
        self._in_flight = in_flight
        self._flights: Flights = {} if flights is None else flights

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = stripped(scope)
        if scope["method"] == "POST":
            try:
                body = await read(receive)
            except HTTPException as error:
                await refusal(error.status_code, error.detail, headers=error.headers)(scope, receive, send)
            else:
                whole: Message = {"type": "http.request", "body": body, "more_body": False}
                await self._post(body, scope, replay(whole, receive), in_terms(send))
        else:
            await self._app(scope, receive, send)

    async def _post(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        message = parsed(body)
        limit = self._server.settings.body_limit
        if answer := refused(body, message, limit) or self._judge(scope, message):
            await answer(scope, receive, send)
        elif self._server.stopping and message.get("method") in BEGINNING and not has_begun(scope):
            await unavailable(STOPPING)(scope, receive, send)
        elif (flight := self._flight(scope, message)) is None:
            await self._app(scope, receive, send)
        elif flight in self._flights or self._in_flight(*flight):
            await refusal(400, "A request with this id is still in flight.")(scope, receive, send)
        else:
            await self._fly(flight, scope, receive, send)

    async def _fly(self, flight: Flight, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it; its id is free again as soon as the client can know that it has all of the response."""
        mine = self._flights[flight] = object()

        def land() -> None:
            if self._flights.get(flight) is mine:
                del self._flights[flight]

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                land()
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            land()

    @staticmethod
    def _flight(scope: Scope, message: Json) -> Flight | None:
        """The request to keep apart from others: only those of handshake-era sessions share ids."""
        if not is_request(message):
            return None
        session = next((value for name, value in scope["headers"] if name == b"mcp-session-id"), b"")
        if not session:
            return None
        return scope["state"]["caller"].name, session.decode("latin-1"), coerce_request_id(message["id"])


def stripped(scope: Scope) -> Scope:
    """The scope without blanks around header values, which are no part of them (RFC 9110 section 5.5)."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return {**scope, "headers": [(name, value.strip(b" \t")) for name, value in headers]}


async def read(receive: Receive) -> bytes:
    """The whole body; what came of it if the client left."""
    event = await receive()
    if not event.get("more_body", False):
        return event.get("body", b"")
    body = bytearray(event.get("body", b""))
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body", False):
            return bytes(body)


def replay(first: Message, receive: Receive) -> Receive:
    """A `receive` that gives a message once more, then whatever follows."""
    waiting = [first]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def in_terms(send: Send) -> Send:
    """A `send` that turns an error which the SDK tells as text, or not at all, into one of JSON-RPC."""
    status, said = 0, bytearray()

    async def tell(message: Message) -> None:
        nonlocal status, said
        if message["type"] == "http.response.start" and message["status"] >= 400:
            kinds = [value for name, value in message["headers"] if name == b"content-type"]
            status = 0 if kinds and kinds[0].startswith(b"application/json") else int(message["status"])
        if not status:
            await send(message)
            return
        said += message.get("body", b"")
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            text = said.decode(errors="replace")[:200] or HTTPStatus(status).phrase
            answer = refusal(status, text)
            await send({"type": "http.response.start", "status": status, "headers": answer.raw_headers})
            await send({"type": "http.response.body", "body": answer.body})

    return tell


def parsed(body: bytes) -> Any:
    """The body as JSON, or why it is none that we read: an exception, which JSON does not know."""
    try:
        return loads(body)
    except (orjson.JSONDecodeError, TooDeep) as fault:
        return fault


def refused(body: bytes, message: Any, limit: int) -> Response | None:
    """The answer to what the SDK would drop, take in part, or refuse with a text that echoes it."""
    if isinstance(message, TooDeep):
        return refusal(400, str(message))
    if isinstance(message, Exception):
        return refusal(400, "The body is not JSON.", types.PARSE_ERROR)
    if not is_message(message):
        return refusal(400, "The body must be one JSON-RPC 2.0 message.")
    if is_request(message) and not is_id(message["id"]):
        return refusal(400, "The id must be a string or an integer, short and not null.")
    if len(body) > limit and not takes_files(message):
        return refusal(413, f"The message is larger than {limit} bytes.")
    return None


def is_message(message: Any) -> bool:
    """True for the outer form of a request, a notification or a response."""
    if not isinstance(message, dict):
        return False
    given = cast(Json, message)
    if "method" in given:
        well_formed = isinstance(given["method"], str) and isinstance(given.get("params"), dict | None)
    else:
        well_formed = "id" in given and ("result" in given or "error" in given)
    return well_formed and given.get("jsonrpc") == "2.0"


def is_request(message: Json) -> bool:
    """True for a request, false for a notification or a response."""
    return "id" in message and "method" in message


def is_id(identity: object) -> bool:
    """True for what JSON-RPC and MCP allow as the id of a request, within our limit."""
    valid = isinstance(identity, str | int) and not isinstance(identity, bool)
    return valid and len(str(identity)) <= ID_LIMIT


def takes_files(message: Json) -> bool:
    """True for the calls that carry files."""
    params: Json = message.get("params") or {}
    return message.get("method") == "tools/call" and params.get("name") in LARGE


def unavailable(text: str) -> Response:
    """The error for what the server cannot do now, and may do soon."""
    return refusal(503, text, types.INTERNAL_ERROR, {"Retry-After": "1"})


def refusal(
    status: int, text: str, code: int = types.INVALID_REQUEST, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON-RPC error for a message whose id cannot be trusted."""
    body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": text}})
    return Response(body, status, headers, media_type="application/json")
