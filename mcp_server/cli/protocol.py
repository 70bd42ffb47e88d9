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

from . import heads
from .connections import Connections, socket
from .flight import Flight
from .shedding import BUSY, refusal, shed, skimmed

RATE = 64 * 1024
"""Bytes of a body that earn one more second."""
FRAMING = 16
"""Bytes that may come for each byte of a body: of chunks that hold one byte, six."""
LINGER, LINGER_BYTES = 2.0, 2**20
"""Seconds and bytes for which what a refused client still sends is thrown away, so that it can read why."""


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
        self._raw = self._received = self._piece = 0
        self._counted = self._stalled = self._in_head = self._in_body = self._refused = self._begun = False
        """Begun: whether the request had come in part before the latest data, too."""
        self._unfinished: tuple[bool, object] = (False, None)
        self._flight = Flight(connections, None)
        self._held: tuple[RequestResponseCycle, bytes] | None = None
        """The call that will be refused, and its path."""
        self._fault = (400, "This is no HTTP request.")
        self.ws_protocol_class = cast(type[asyncio.Protocol], partial(socket, self))

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self.peer = self._all.peer(self.client[0]) if self.client else None
        self._flight = Flight(self._all, self.peer)
        self._counted = self._all.admit(self)
        if self._counted:
            self._wait(self._limits.header_timeout)
        else:
            self._refused = True
            self._all.refusals.later(self._turn_away)

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
        if self._is_too_much(data):
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
        if fault := heads.fault(self.url, self.headers, self._raw + self._piece, self._limits):
            self._fault = fault
            raise ValueError(fault)  # httptools turns it into an error of its own
        self._in_body = True
        super().on_headers_complete()
        if not (parser.should_upgrade() and self._should_upgrade()):
            self.headers = []  # what follows are trailers, which are no headers (RFC 9110 section 6.5.1)

    def on_body(self, body: bytes) -> None:
        self._received += len(body)
        if self._held is None or self._held[0] is not self.cycle:
            super().on_body(body)
        else:
            self.flow.pause_reading()  # as uvicorn does for the next request

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        self._flight.arrived()

    def on_response_complete(self) -> None:
        """As uvicorn's, without its timer."""
        self.server_state.total_requests += 1
        self.served = True
        self._flight.answered()
        self._go_on()

    def _go_on(self) -> None:
        """A response is complete; what comes next?"""
        if self.transport.is_closing():
            self._wait(self._limits.send_timeout)
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.cycle.response_complete and not self._in_head:
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

    def _is_too_much(self, data: bytes) -> bool:
        """True for a whole call that came while no place is free: nothing more is made of it."""
        if self._has_room() or self._in_head or self._in_body:
            return False
        cycle = self._cycle
        if (cycle is not None and not cycle.response_complete) or not (call := skimmed(data)):
            return False
        self.cycle = call
        self._hold(call, call.path)
        return True

    def _has_room(self) -> bool:
        """True if a call may begin."""
        return self._all.has_room(self.peer)

    def _hold(self, cycle: RequestResponseCycle, path: bytes) -> None:
        """Refuse a call, soon."""
        self._held = cycle, path
        self._all.waiting.pop(self, None)
        self._all.refusals.later(self._shed)

    def _shed(self) -> None:
        assert self._held is not None
        (cycle, path), self._held = self._held, None
        if cycle.disconnected or self.transport.is_closing():
            return
        cycle.response_started = cycle.response_complete = True
        self.transport.write(shed(path, cycle.keep_alive))
        self._all.answered(503)
        if not cycle.keep_alive:
            self.transport.close()
        self._go_on()

    def _turn_away(self) -> None:
        """There is no room for this connection."""
        if not self.transport.is_closing():
            self._refuse(503, BUSY)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Serve a request. Calls are counted, and one too many is refused."""
        scope = cycle.scope
        path = scope["raw_path"].removeprefix(self.root_path.encode())
        is_call = heads.calls(scope["method"], path, scope["headers"])
        if is_call and not self._has_room():
            self._hold(cycle, path)
            return
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if is_call:
            self._flight.start(cycle)
            task.add_done_callback(lambda _: self._served(cycle))

    def _served(self, cycle: RequestResponseCycle) -> None:
        """A call is over."""
        self._flight.over(cycle)

    def _goes_on(self) -> None:
        """A request has come in part."""
        begun, limits, state = self._begun, self._limits, (self._in_head, self.cycle)
        self._raw += self._piece if begun else min(self._piece, limits.header_limit)
        if self._raw > limits.header_limit + FRAMING * self._received:
            self._refuse(431, "The headers are too large.")
        elif state != self._unfinished or not begun:
            self._unfinished = state
            self._wait(limits.header_timeout if self._in_head else limits.body_timeout)

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
