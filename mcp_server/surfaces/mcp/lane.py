"""The express lane: plain calls and lists over HTTP, answered at once with bytes that are there already.

It says nothing of its own: what is not plain, what is refused and what fails as a protocol error goes to the
SDK before anything has begun. A run that asks, or that takes longer than `BOUND`, is handed over while it
goes on: the SDK's handler takes it, and it runs once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import mcp_types as types
import orjson
from mcp.server.streamable_http import REQUEST_CANCELLED
from mcp.shared.dispatcher import coerce_request_id
from starlette.types import Scope

from ...errors import ServerError
from ...limits.deadlines import Deadlines
from ...models import Caller, Client, Run
from ...runs import Live, Ready
from ...server import Server
from .begun import Begun
from .door import Flight, Flights
from .envelopes import Envelopes
from .http import StreamableHttp
from .lists import Lists
from .plain import Head, Headers, Plain, plain
from .protocol import ProtocolServer
from .reports import LEVEL
from .results import bytes_of

BOUND = 0.1
"""Seconds a run may take here. Then the SDK watches for the client's leaving, and keeps its stream alive."""
PATHS = ("/mcp", "/mcp/")
CANCELS = b"notifications/cancelled"
CANCELLED = b'{"code":%d,"message":"Request cancelled"}' % REQUEST_CANCELLED
"""What a session's client is told of a request that it cancelled, as the SDK does."""
ORIGIN = "mcp"
JSON = (b"content-type", b"application/json")
STREAM = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache, no-transform"))


Answer = bytes
Tell = Callable[[Answer | Begun | None], None]
"""Told an answer; a run that is to be handed over; or None if the SDK has to answer, and nothing began."""


class Lane:
    """Answers what is plain. Nothing in it outlives a request but what can be made again."""

    def __init__(
        self, server: Server, protocol: ProtocolServer, flights: Flights, streamable: StreamableHttp
    ) -> None:
        self.server = server
        self._catalog = server.catalog
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
        self._served: dict[str, Ready | None] = {}

    def serves(self, scope: Scope) -> bool:
        """True for the address at which all clients meet the same tools, until the server stops."""
        return not self.server.stopping and scope["path"].removeprefix(scope.get("root_path", "")) in PATHS

    def shared(self, headers: Headers) -> Mapping[str, str]:
        """Those of the headers that pipelines may see."""
        if not self._shared:
            return {}
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
        return {name: given[name] for name in self._shared if name in given}

    def ask(
        self,
        body: bytes,
        head: Head,
        caller: Caller,
        shared: Mapping[str, str],
        request_id: str,
        tell: Tell,
    ) -> Answer | Begun | None:
        """Answer the message at once, or begin its run: `tell` then hears of it. None if it is for the SDK.

        `shared` are the headers that pipelines may see, `request_id` is the HTTP request's.
        """
        asked = plain(body, head, self._limit)
        client = self._client(asked, caller) if asked and caller.may("read") else None
        if asked is None or client is None:
            return None
        if asked.tool is not None:
            client = client.model_copy(update={"headers": shared}) if shared else client
            return self._called(asked, asked.tool, client, caller, request_id, tell)
        result = self._lists.body(caller, modern=asked.meta is not None)
        return None if result is None else framed(asked, result)

    def _client(self, asked: Plain, caller: Caller) -> Client | None:
        """Who calls; None if it may want more than a plain answer."""
        if asked.meta is not None:
            return self._envelopes.modern(asked.meta)
        connection = self._connections.get(asked.session)
        if connection is None or LEVEL in connection.state:
            return None
        return self._envelopes.session(connection) if self._streamable.admits(asked.session, caller) else None

    def _called(
        self, asked: Plain, name: str, client: Client, caller: Caller, request_id: str, tell: Tell
    ) -> Begun | None:
        """The run of a call; None if it is for the SDK."""
        ready = self._ready(name)
        flight = (caller.name, asked.session, coerce_request_id(asked.id)) if asked.session else None
        if ready is None or flight in self._flights or (flight and self._streamable.in_flight(*flight)):
            return None
        if caller.origin != ORIGIN:
            caller = caller.model_copy(update={"origin": ORIGIN})
        begun = Begun(ready.options, partial(self._turned, asked, flight, tell))
        runs, inputs = self.server.runs, asked.arguments
        if not ready.at_once:
            start = runs.start(
                caller, name, inputs, client=client, request_id=request_id, listener=begun.hear
            )
            begun.starting = asyncio.create_task(self._start(begun, start, flight, tell))
        else:
            try:
                live = runs.begin(caller, ready, inputs, client, request_id, begun.hear)
            except ServerError:  # nothing was begun; the SDK's way says why
                return None
            begun.began(live, BOUND, self._deadlines)
        if flight:
            self._flights[flight] = begun
        return begun

    async def _start(self, begun: Begun, start: Awaitable[Live], flight: Flight | None, tell: Tell) -> None:
        """Begin a run for which something may have to be waited for."""
        try:
            live = await start
        except ServerError:
            if flight:
                del self._flights[flight]
            tell(None)
        else:
            begun.began(live, BOUND, self._deadlines)

    def _turned(self, asked: Plain, flight: Flight | None, tell: Tell, begun: Begun) -> None:
        """The run has ended, or is for the SDK from now on."""
        if flight:
            del self._flights[flight]
        if begun.abandoned:
            return
        if begun.cancelled:
            tell(framed(asked, CANCELLED, b',"error":'))
        elif is_answer(run := begun.run):
            tell(framed(asked, bytes_of(run, None if asked.meta is None else self._stamp)))
        else:
            tell(begun)

    def _ready(self, name: str) -> Ready | None:
        """The pipeline if every client can call it as it is, looked up once per state of the catalog."""
        snapshot = self._catalog.snapshot
        if snapshot is not self._snapshot:
            self._snapshot, self._served = snapshot, {}
        if name not in self._served and name in snapshot.entries:
            entry = self._tools.plainly(name, self._tools.toolsets.named(None))
            self._served[name] = entry and self.server.runs.ready(entry)
        return self._served.get(name)

    def cancel(self, body: bytes, scope: Scope) -> None:
        """A session's client may cancel a request, which may be one that is being answered here."""
        flight = cancelled(body, scope) if CANCELS in body else None
        begun = self._flights.get(flight) if flight else None
        if (
            flight
            and isinstance(begun, Begun)
            and self._streamable.admits(flight[1], scope["state"]["caller"])
        ):
            begun.cancel()


def framed(asked: Plain, result: bytes, part: bytes = b',"result":') -> Answer:
    """The body of a response."""
    if asked.session:  # sessions are answered by streams, here of one event
        first, last = b'event: message\r\ndata: {"jsonrpc":"2.0","id":', b"}\r\n\r\n"
    else:
        first, last = b'{"jsonrpc":"2.0","id":', b"}"
    return b"".join((first, orjson.dumps(asked.id), part, result, last))


def headers_of(session: str) -> list[tuple[bytes, bytes]]:
    """What is said of it."""
    return [*STREAM, (b"mcp-session-id", session.encode("latin-1"))] if session else [JSON]


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
