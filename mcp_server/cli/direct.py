"""A connection whose calls need no task of their own: whole messages behind a head that was judged before.

All that is told of such a head was found out by the application when it came first on this connection (see
`surfaces.mcp.express`). What does not go so goes the usual way from its first byte, and a run that takes long
is handed over to it.
"""

from __future__ import annotations

import time
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from ..guard import NOSNIFF, REQUEST_ID, TAKEN, request_id
from ..surfaces.mcp.begun import Begun, hand_over, release
from ..surfaces.mcp.express import Judged
from ..telemetry import lines
from .protocol import Connection

END = b"\r\n\r\n"
LARGEST = 4096
"""Bytes of a head that is remembered."""
SMALL = 64 * 1024
"""Bytes of a body behind a head that is remembered: nobody counts what all of them hold."""
DIGITS = len(str(SMALL))
OK = b"HTTP/1.1 200 OK\r\n"
REQUEST = f"\r\n{REQUEST_ID.decode()}: "
TIME = f"\r\n{TAKEN.decode()}: "
REST = b"\r\n%b: %b\r\n\r\n" % NOSNIFF
"""What the guard puts on each answer."""


class Direct(Connection):
    """One at a time goes so."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._known: dict[tuple[bytes, bytes], Judged] = {}
        """By what is before and behind the length of the body, in the heads that came."""
        self.app_state["connection"]["known"] = self._known
        self._judged: Judged | None = None
        """While such a call is being served."""
        self._call: Begun | None = None
        """Its run."""
        self._data = b""
        self._head = b""
        """A known head whose body has not come yet: many clients send the two one after the other."""
        self._later = bytearray()
        """What came meanwhile."""
        self._since = 0.0
        self._identity = ""
        self._is_let_in = False
        """True while a call that has its place is passed on: others may have taken the last ones since."""
        self._closes = False
        """True if the connection is to be closed after it."""

    def data_received(self, data: bytes) -> None:
        if self._judged is not None:
            self._later += data
            self.flow.pause_reading()
            return
        read = self._read_late if self._head else self._read
        data, self._head = self._head + data, b""
        if not self._known or not self._takes(data):
            read(data)

    def late(self, now: float) -> None:
        self._give_up()
        super().late(now)

    def connection_lost(self, exc: Exception | None) -> None:
        call, self._call = self._call, None
        if call is not None:
            self._over()
            call.abandon()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self._give_up()
        if self._judged is None:
            super().shutdown()
        else:
            self._closes = True

    def _give_up(self) -> None:
        """Wait for the body of a known head no longer."""
        if self._head:
            head, self._head = self._head, b""
            self._read_late(head)

    def _read_late(self, data: bytes) -> None:
        """Read a head that was known, and what came of its body, which has no more time than before."""
        due = self.deadline
        self._read(data)
        if self._in_body:
            self.deadline = due

    def _takes(self, data: bytes) -> bool:
        """Serve what came if it is one whole message that goes so."""
        if (found := self._recognized(data)) is None or not self._is_between():
            return False
        judged, end, size = found
        body = data[end:]
        if not body and size:
            self._head = data
            self._wait(self._limits.body_timeout)
            return True
        if len(body) != size:
            return False
        if not judged.holds():
            self._known.clear()
            return False
        if not judged.counts():
            return False
        self._since, self._identity = time.perf_counter(), request_id(None)
        lines.request_id.set(self._identity)
        self._judged, self._data = judged, data
        going = judged.ask(body, self._identity, self._tell)
        if going is None:
            self._judged = None
            self._pass_on(judged, data)
            return True
        self._all.waiting.pop(self, None)
        self._all.begin(self.peer)
        if isinstance(going, Begun):
            self._call = going
        else:
            self._answer(judged, going)
        return True

    def _recognized(self, data: bytes) -> tuple[Judged, int, int] | None:
        """The head that data begins with if it is a known one but for its length; where it ends, and that."""
        for (before, behind), judged in self._known.items():
            if data.startswith(before):
                start = len(before)
                stop = data.find(b"\r\n", start, start + DIGITS + 2)
                if stop > start and data.startswith(behind, stop) and data[start:stop].isdigit():
                    size = int(data[start:stop])
                    return (judged, stop + len(behind), size) if size <= SMALL else None
        return None

    def _is_between(self) -> bool:
        """True if nothing goes on, and a call may begin."""
        if self._in_head or self._in_body or self._stalled or self._refused or self._held:
            return False
        return self.cycle.response_complete and self._all.has_room(self.peer)

    def _tell(self, told: bytes | Begun | None) -> None:
        judged, self._call = self._judged, None
        if judged is None:  # the client has left
            return
        if isinstance(told, bytes):
            self._answer(judged, told)
            return
        data, self._is_let_in = self._data, True
        self._over()
        cycle = self._pass_on(judged, data)
        self._is_let_in = False
        if told is not None and cycle is not None:
            hand_over(told, cast(Scope, cycle.scope))
        elif told is not None:
            told.abandon()
        if self._later:
            self._catch_up()

    def _pass_on(self, judged: Judged, data: bytes) -> RequestResponseCycle | None:
        """Serve a message that was counted the usual way."""
        cycle = self._read(data)
        if cycle is not None:
            cast(Scope, cycle.scope)["state"]["counted"] = judged.counted
        return cycle

    def _served(self, cycle: RequestResponseCycle) -> None:
        super()._served(cycle)
        release(cast(Scope, cycle.scope))

    def _has_room(self) -> bool:
        return self._is_let_in or super()._has_room()

    def _answer(self, judged: Judged, body: bytes) -> None:
        taken = round(1000 * (time.perf_counter() - self._since))
        own = f"content-length: {len(body)}{REQUEST}{self._identity}{TIME}{taken}".encode()
        usual = self._all.written(self.server_state.default_headers)
        send = self._send_now if self._all.in_flight == 1 else self.transport.write
        send(b"".join((OK, usual, judged.said, own, REST, body)))
        self._all.answered(200)
        self.server_state.total_requests += 1
        self.served = True
        self._over()
        if self._closes:
            self.transport.close()
        self._go_on()
        if self._later:
            self._catch_up()

    def _send_now(self, answer: bytes) -> None:
        """Send what is alone: uvloop would do so after all that its turn brings, unless no byte may wait."""
        self.transport.set_write_buffer_limits(high=0)
        self.transport.write(answer)
        self.transport.set_write_buffer_limits()

    def _over(self) -> None:
        self._judged, self._data = None, b""
        self._all.end(self.peer)

    def _catch_up(self) -> None:
        """Read what came meanwhile."""
        later, self._later = bytes(self._later), bytearray()
        self.data_received(later)

    def _read(self, data: bytes) -> RequestResponseCycle | None:
        """Serve it the usual way; gives the request that it begins."""
        before, begun = self._cycle, self._in_head or self._in_body
        super().data_received(data)
        cycle = self._cycle
        if cycle is None or cycle is before or cycle.response_complete or self._held:
            return None
        end = data.find(END) + len(END)
        is_whole = not begun and len(data) == end + self._received and end <= LARGEST
        if is_whole and cycle.keep_alive and not cycle.waiting_for_100_continue:
            cast(Scope, cycle.scope)["state"]["head"] = data[:end]
        return cycle
