"""The express lane: plain calls and lists over HTTP, answered at once with bytes that are there already.

It says nothing of its own: what is not plain, what is refused and what fails as a protocol error goes to the
SDK before anything has begun. A run that asks, or that takes longer than `BOUND`, is handed over while it
goes on: the SDK's handler takes it, and it runs once.
"""

from __future__ import annotations

import mcp_types as types
import orjson
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp.shared.dispatcher import coerce_request_id
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...catalog import Serving
from ...errors import ServerError
from ...limits.deadlines import Deadlines
from ...models import Caller, Client, Run
from ...server import Server
from .begun import Begun, hand_over
from .door import Flight, Flights, read, replay
from .envelopes import Envelopes
from .http import StreamableHttp
from .lists import Lists
from .plain import Plain, plain
from .protocol import ProtocolServer
from .reports import LEVEL
from .results import bytes_of

BOUND = 0.1
"""Seconds a run may take here. Then the SDK watches for the client's leaving, and keeps its stream alive."""
LARGEST = 3 * 512 * 1024
"""Bytes of a body that is read here; larger ones, and those that do not tell, are held once only."""
PATHS = ("/mcp", "/mcp/")
CANCELS = b"notifications/cancelled"
CANCELLED = b'{"code":%d,"message":"Request cancelled"}' % REQUEST_CANCELLED
"""What a session's client is told of a request that it cancelled, as the SDK does."""
ORIGIN = "mcp"
JSON = (b"content-type", b"application/json")
STREAM = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache, no-transform"))


class Express:
    """ASGI middleware behind guard and authentication: what the lane does not answer goes to the routes."""

    def __init__(self, app: ASGIApp, *, lane: Lane) -> None:
        self._app = app
        self._lane = lane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or not self._lane.serves(scope):
            await self._app(scope, receive, send)
            return
        size = dict(scope["headers"]).get(b"content-length", b"")
        if not size.isdigit() or len(size) > 9 or int(size) > LARGEST:
            await self._app(scope, receive, send)
            return
        try:
            body = await read(receive)
        except HTTPException as refused:  # the routes know how it is told
            await self._app(scope, raising(refused), send)
            return
        if not await self._lane.answer(body, scope, send):
            whole: Message = {"type": "http.request", "body": body, "more_body": False}
            await self._app(scope, replay(whole, receive), send)


def raising(error: HTTPException) -> Receive:
    """A `receive` that refuses the body."""

    async def refuse() -> Message:
        raise error

    return refuse


class Lane:
    """Answers what is plain. Nothing in it outlives a request but what can be made again."""

    def __init__(
        self, server: Server, protocol: ProtocolServer, flights: Flights, streamable: StreamableHttp
    ) -> None:
        self._server = server
        self._tools = protocol.tools
        self._connections = protocol.connections
        self._flights = flights
        self._streamable = streamable
        self._limit = server.settings.body_limit
        self._envelopes = Envelopes()
        stamp = {types.SERVER_INFO_META_KEY: protocol.server_info_stamp}
        self._stamp = orjson.dumps(stamp)[1:-1]
        self._lists = Lists(server.catalog, protocol.tools.toolsets, stamp)
        self._shared = [name.lower() for name in server.settings.shared_headers]
        self._deadlines = Deadlines()
        self._snapshot: object = None
        self._served: dict[str, Serving | None] = {}

    def serves(self, scope: Scope) -> bool:
        """True for the address at which all clients meet the same tools, until the server stops."""
        return not self._server.stopping and scope["path"].removeprefix(scope.get("root_path", "")) in PATHS

    async def answer(self, body: bytes, scope: Scope, send: Send) -> bool:
        """Answer the message; false if it is for the SDK, which then knows of a run that was begun."""
        asked = plain(body, scope["headers"], self._limit)
        if asked is None:
            if CANCELS in body:
                self._cancel(body, scope)
            return False
        caller: Caller = scope["state"]["caller"]
        client = self._client(asked, scope) if caller.may("read") else None
        if client is None:
            return False
        if asked.tool is None:
            result = self._lists.body(caller, modern=asked.meta is not None)
        else:
            result = await self._called(asked, asked.tool, client, caller, scope)
        if result is None:
            return False
        part = b',"error":' if result is CANCELLED else b',"result":'
        answer = b"".join((b'{"jsonrpc":"2.0","id":', orjson.dumps(asked.id), part, result, b"}"))
        headers: list[tuple[bytes, bytes]] = [JSON]
        if asked.session:  # sessions are answered by streams, here of one event
            answer = b"event: message\r\ndata: " + answer + b"\r\n\r\n"
            headers = [*STREAM, (b"mcp-session-id", asked.session.encode("latin-1"))]
        headers.append((b"content-length", b"%d" % len(answer)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        return True

    def _client(self, asked: Plain, scope: Scope) -> Client | None:
        """Who calls; None if it may want more than a plain answer."""
        if asked.meta is not None:
            client = self._envelopes.modern(asked.meta)
        else:
            connection = self._connections.get(asked.session)
            if (
                connection is None
                or LEVEL in connection.state
                or not self._streamable.admits(asked.session, scope)
            ):
                return None
            client = self._envelopes.session(connection)
        if client is None:
            return None
        seen: dict[str, str] = {}
        if self._shared:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            seen = {name: headers[name] for name in self._shared if name in headers}
        return client.model_copy(update={"headers": seen, "request_id": scope["state"]["request_id"]})

    async def _called(
        self, asked: Plain, name: str, client: Client, caller: Caller, scope: Scope
    ) -> bytes | None:
        """The result of a call; None if it is for the SDK."""
        entry = self._entry(name)
        flight = (caller.name, asked.session, coerce_request_id(asked.id)) if asked.session else None
        if entry is None or flight in self._flights or (flight and self._streamable.in_flight(*flight)):
            return None
        if caller.origin != ORIGIN:
            caller = caller.model_copy(update={"origin": ORIGIN})
        begun = Begun(entry.options)
        if flight:
            self._flights[flight] = begun
        try:
            live = await self._server.runs.start(
                caller, name, asked.arguments, client=client, listener=begun.hear
            )
            await begun.wait(live, BOUND, self._deadlines)
        except ServerError:  # nothing was begun; the SDK's way says why
            return None
        finally:
            if flight:
                del self._flights[flight]
        if begun.cancelled:
            return CANCELLED
        if is_answer(live.run):
            return bytes_of(live.run, None if asked.meta is None else self._stamp)
        hand_over(begun, scope)
        return None

    def _entry(self, name: str) -> Serving | None:
        """The pipeline if every client can call it as it is, looked up once per state of the catalog."""
        snapshot = self._server.catalog.snapshot
        if snapshot is not self._snapshot:
            self._snapshot, self._served = snapshot, {}
        if name not in self._served and name in snapshot.entries:
            self._served[name] = self._tools.plainly(name, self._tools.toolsets.named(None))
        return self._served.get(name)

    def _cancel(self, body: bytes, scope: Scope) -> None:
        """A session's client cancels a request, which may be one that is being answered here."""
        flight = cancelled(body, scope)
        begun = self._flights.get(flight) if flight else None
        if flight and isinstance(begun, Begun) and self._streamable.admits(flight[1], scope):
            begun.cancel()


def cancelled(body: bytes, scope: Scope) -> Flight | None:
    """The request that a notification cancels; None if it is no such notification, or of no session."""
    try:
        message = orjson.loads(body)
        session = dict(scope["headers"])[b"mcp-session-id"].decode("latin-1")
        identity = message["params"]["requestId"] if message["method"] == CANCELS.decode() else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
    if not isinstance(identity, str | int):
        return None
    return scope["state"]["caller"].name, session, coerce_request_id(identity)


def is_answer(run: Run) -> bool:
    """True for a run that ended with a result, and not with an error of the protocol."""
    return run.status in ("done", "failed") and run.result is not None and run.result.fault is None
