"""A client that costs little: requests made beforehand, on raw sockets that stay open, one at a time each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CONNECTIONS = 16
PATIENCE = 60.0
"""Seconds an answer may take."""

Check = Callable[[bytes], bool]
"""True if a whole answer, head and body, is the one that was asked for."""


@dataclass(frozen=True)
class Answers:
    """What came of some requests."""

    waits: Sequence[float]
    """Seconds from a request to the end of its answer, sorted."""
    seconds: float
    errors: int = 0
    fault: str = ""
    """One of the wrong answers."""

    def percentile(self, share: float) -> float:
        """The wait that this share of the requests did not exceed."""
        return self.waits[min(len(self.waits) - 1, int(len(self.waits) * share))]


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None
        self._size: int | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._size is None:
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            self._size = head + 4 + length(bytes(self._buffer[:head]).lower())
        if len(self._buffer) >= self._size or self._ended():
            answer = bytes(self._buffer)
            self._buffer.clear()
            self._size = None
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(answer)

    def _ended(self) -> bool:
        return self._size is not None and self._size >= CHUNKED and self._buffer.endswith(b"\r\n0\r\n\r\n")

    async def ask(self, request: bytes) -> bytes:
        """The answer to a request, head and body."""
        assert self._transport is not None, "connected"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


CHUNKED = 2**62
"""Stands for the length of a body that does not tell it."""


def length(head: bytes) -> int:
    """The bytes of the body."""
    at = head.find(b"content-length: ")
    if at >= 0:
        return int(head[at + 16 :].split(b"\r\n", 1)[0])
    return CHUNKED if b"transfer-encoding: chunked" in head else 0


async def connect(port: int) -> Line:
    """A connection to a server of this machine."""
    _, line = await asyncio.get_running_loop().create_connection(Line, "127.0.0.1", port)
    return line


async def load(
    port: int,
    request: Callable[[int], bytes],
    check: Check,
    number: int,
    connections: int = CONNECTIONS,
) -> Answers:
    """Ask `number` times, over so many connections; `request` gives the bytes of the n-th request."""
    lines = [await connect(port) for _ in range(connections)]
    requests = iter([request(each) for each in range(number)])
    waits: list[float] = []
    faults: list[bytes] = []

    async def work(line: Line) -> None:
        for each in requests:
            since = time.perf_counter()
            answer = await line.ask(each)
            waits.append(time.perf_counter() - since)
            if not check(answer):
                faults.append(answer)

    since = time.perf_counter()
    async with asyncio.timeout(PATIENCE + number * 0.05):
        await asyncio.gather(*map(work, lines))
    seconds = time.perf_counter() - since
    for line in lines:
        line.close()
    fault = faults[0][:600].decode(errors="replace") if faults else ""
    return Answers(sorted(waits), seconds, len(faults), fault)
