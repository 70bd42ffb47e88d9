"""HTTP on one connection of the listener: what a request may weigh, and how long it may keep us waiting.

httptools has no limit of its own, and uvicorn none but the one between requests. h11 has some, and costs more
than half of the speed. What is done here costs less than the timers of uvicorn that it makes superfluous.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from .connections import Connections
from .shedding import BUSY, refusal, shed
from .sockets import Socket

RATE = 64 * 1024
"""Bytes of a body that earn one more second."""
FRAMING = 16
"""Bytes that may come for each byte of a body: of chunks that hold one byte, six."""
LINGER, LINGER_BYTES = 2.0, 2**20
"""Seconds and bytes for which what a refused client still sends is thrown away, so that it can read why."""
LISTEN = (b"mcp-method", b"subscriptions/listen")
TARGET = "The target of a request is a path here; a URL is for proxies."


class Connection(HttpToolsProtocol):
    """One connection, as long as it speaks HTTP."""

    def __init__(
        self,
        connections: Connections,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # what is found out about the connection itself, such as whose it is, is asked once
        super().__init__(config, server_state, {**app_state, "connection": {}}, _loop)
        self.deadline = 0.0
        self.peer: str | None = None
        self.served = False
        """Whether it ever got a response."""
        self._all = connections
        self._limits = connections.limits
        self._counted = self._stalled = self._in_head = self._in_body = self._is_shed = False
        self._raw = self._received = self._piece = 0
        self._refused = self._begun = False
        """Begun: whether the request had come in part before the latest data, too."""
        self._unfinished: tuple[bool, object] = (False, None)
        self._arriving: RequestResponseCycle | None = None
        """The call whose body still comes."""
        self._going: RequestResponseCycle | None = None
        """The call in flight. It is over with its answer, before its task: who has that may call again."""
        self._fault = (400, "This is no HTTP request.")
        self.ws_protocol_class = cast(type[asyncio.Protocol], partial(Socket, self))

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.peer = self._all.peer(self.client[0]) if self.client else None
        self._counted = self._all.admit(self)
        if self._counted:
            self._wait(self._limits.header_timeout)
        else:
            self._refuse(503, BUSY)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.left()

    def left(self) -> None:
        """It is gone, whatever it spoke last."""
        if self._counted:
            self._counted = False
            self._all.leave(self)

    def drop(self) -> None:
        """Make room at once, for another one."""
        self.left()
        self.transport.abort()

    def late(self, now: float) -> None:
        """The deadline has passed."""
        if self._stalled or self._refused or self.transport.is_closing():
            self.transport.abort()
        elif self._in_body and not self.cycle.response_complete and self._comes(now):
            pass
        elif self._in_head or self._in_body:
            self._refuse(408, "The request took too long to arrive.")
        else:
            self.transport.close()
            self._wait(self._limits.send_timeout)

    def _comes(self, now: float) -> bool:
        """True if the body comes steadily, or if it is us who keep it waiting."""
        return self.flow.read_paused or now < self.deadline + self._received / RATE

    def data_received(self, data: bytes) -> None:
        assert self.parser is not None
        if self._refused:
            self._raw += len(data)
            if self._raw > LINGER_BYTES:
                self.transport.abort()
            return
        self._begun, self._piece = self._in_head or self._in_body, len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError:
            self._refuse(*self._fault)
        else:
            if self._in_head or self._in_body:
                self._goes_on()
            elif not self._stalled and (cycle := self._cycle) is not None and not cycle.response_complete:
                self._all.waiting.pop(self, None)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._begun, self._raw = True, False, 0

    def on_headers_complete(self) -> None:
        parser, self._in_head, self._received = self.parser, False, 0
        assert parser is not None
        if fault := self._fault_of_head():
            self._fault = fault
            raise ValueError(fault)  # httptools turns it into an error of its own
        self._in_body = True
        super().on_headers_complete()
        if not (parser.should_upgrade() and self._should_upgrade()):
            self.headers = []  # what follows are trailers, which are no headers (RFC 9110 section 6.5.1)

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        if (cycle := self._arriving) is not None:
            self._arrived()
            self._begin(cycle)

    def on_response_complete(self) -> None:
        """As uvicorn's, without its timer, and for answers that cost no task."""
        self.server_state.total_requests += 1
        self.served = True
        self._answered()
        if self.transport.is_closing():
            self._wait(self._limits.send_timeout)
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._is_shed = True
            while self._is_shed and self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
        if self.cycle.response_complete and not self._in_head:
            self._wait(self._limits.keep_alive)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stall()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stalled = False
        if self.transport.is_closing():
            self._wait(self._limits.send_timeout)
        elif self._in_body:
            self._wait(self._limits.body_timeout)
        elif self.cycle.response_complete:
            self._wait(self._limits.keep_alive)
        else:
            self._all.waiting.pop(self, None)

    def stall(self) -> None:
        """The client does not read."""
        self._stalled = True
        self._wait(self._limits.send_timeout)

    def flow_again(self) -> None:
        """The client of a websocket reads again, and owes us nothing."""
        self._stalled = False
        self._all.waiting.pop(self, None)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Serve a request. Calls are counted; one too many is answered on the spot, which costs least."""
        is_call = cycle.scope["method"] == "POST" and not self._listens(cycle)
        self._is_shed = is_call and not self._all.has_room(self.peer)
        if self._is_shed:
            shed(cycle, self.root_path)
            self._all.answered(503)
            return
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        if not is_call:
            task.add_done_callback(self.tasks.discard)
            return
        task.add_done_callback(partial(self._end_call, cycle))
        if cycle.more_body:
            self._arriving = cycle
            self._all.arriving += 1
        else:
            self._begin(cycle)

    def _begin(self, cycle: RequestResponseCycle) -> None:
        self._going = cycle
        self._all.begin(self.peer)

    def _arrived(self) -> None:
        """The call whose body came is one of those in flight, or none any more."""
        self._arriving = None
        self._all.arriving -= 1

    def _end_call(self, cycle: RequestResponseCycle, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if self._arriving is cycle:
            self._arrived()
        elif self._going is cycle:
            self._answered()

    def _answered(self) -> None:
        if self._going is not None:
            self._going = None
            self._all.end(self.peer)

    def _goes_on(self) -> None:
        """A request has come in part."""
        begun, limits, state = self._begun, self._limits, (self._in_head, self.cycle)
        self._raw += self._piece if begun else min(self._piece, limits.header_limit)
        if self._raw > limits.header_limit + FRAMING * self._received:
            self._refuse(431, "The headers are too large.")
        elif state != self._unfinished or not begun:
            self._unfinished = state
            self._wait(limits.header_timeout if self._in_head else limits.body_timeout)

    def _listens(self, cycle: RequestResponseCycle) -> bool:
        """True for a stream of `subscriptions/listen` (2026-07-28): it is posted, and no call."""
        if LISTEN not in cycle.scope["headers"]:
            return False
        return cycle.scope["path"].removeprefix(self.root_path).startswith("/mcp")

    def _fault_of_head(self) -> tuple[int, str] | None:
        limits = self._limits
        if len(self.url) > limits.url_limit:
            return 414, "The URL is too long."
        if len(self.headers) > limits.max_headers:
            return 431, "There are too many headers."
        least = limits.header_limit
        if (
            self._raw + self._piece > least
            and sum(len(name) + len(value) for name, value in self.headers) > least
        ):
            return 431, "The headers are too large."
        return None if self.url.startswith(b"/") else (400, TARGET)

    def _upgrade(self) -> None:
        if self._should_upgrade():
            self._all.waiting.pop(self, None)
            self.handle_websocket_upgrade()
        elif not self.cycle.response_complete:
            self.cycle.keep_alive = False  # it is served as if it had not asked, and nothing after it

    @property
    def _cycle(self) -> RequestResponseCycle | None:
        """The latest request and its response; there is none before the first one."""
        return self.cycle

    def _refuse(self, status: int, text: str) -> None:
        """Answer without asking anybody, and close as RFC 9112 section 9.6 says: not while data may come."""
        cycle = self._cycle
        if cycle is not None:
            cycle.disconnected = True  # what it may still send is no answer any more
            cycle.message_event.set()
        if cycle is None or cycle.response_complete or self._is_about(cycle):
            self.transport.write(refusal(status, text))
            self._all.answered(status)
        if self._counted and self.transport.can_write_eof():
            self._refused, self._raw = True, 0
            self.transport.write_eof()
        else:
            self.transport.close()
        self._wait(min(LINGER, self._limits.send_timeout))

    def _is_about(self, cycle: RequestResponseCycle) -> bool:
        """True if what is refused is part of this request, and nothing before it waits for an answer."""
        return self._in_body and not cycle.response_started and not self.pipeline

    def _wait(self, seconds: float) -> None:
        """The client has to do something within these seconds."""
        if self._counted:
            waiting = self._all.waiting
            waiting.pop(self, None)
            waiting[self] = None
            self.deadline = self.loop.time() + seconds
