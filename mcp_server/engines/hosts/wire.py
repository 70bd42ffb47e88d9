"""One end of the conversation between front and host: whole frames over one stream socket.

A frame is a header of 13 bytes (length of the payload, kind, number of the call or load it belongs to;
big-endian) and the payload. What arrives together is read together; a payload that is larger than the buffer
is read into memory of its own, straight from the socket, so that a value of some megabytes is copied once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from .frames import KINDS, Kind

HEADER = struct.Struct(">IBQ")
BUFFER = 2 * 1024 * 1024
"""Bytes of socket buffer; at the default of 208 KiB a frame of 1 MB takes three times as long."""
READ = 128 * 1024
"""Bytes that are read at once."""
JOINED = 16 * 1024
"""Bytes up to which what is sent together is joined first; more is sent at once, part by part."""

LONGEST = 2**32 - 1
"""Bytes of a payload, as far as the header can say."""

Receive = Callable[[Kind, int, bytes | bytearray], None]


class Wire(asyncio.BufferedProtocol):
    """Calls `receive` for every frame and `lost` once at the end.

    Who sends a frame with a payload of more than `most` bytes, or of an unknown kind, is not listened to.
    """

    def __init__(self, receive: Receive, lost: Callable[[], None], most: int = LONGEST) -> None:
        self._receive = receive
        self._most = most
        self._lost = lost
        self._buffer = bytearray(READ)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._large: bytearray | None = None
        """The payload that is being read into memory of its own, and how much of it has come."""
        self._got = 0
        self._about = (Kind.END, 0)
        self._transport: asyncio.Transport | None = None
        self._parts: list[bytes] = []
        """What was queued in this turn of the event loop; it goes out together."""
        self._size = 0
        self.flowing = asyncio.Event()
        self.flowing.set()

    def send(self, kind: Kind, number: int, *payload: bytes) -> None:
        """Queue a frame; nothing happens on a closed wire. Call on the event loop."""
        if self._transport is None or self._transport.is_closing():
            return
        size = sum(map(len, payload))
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(HEADER.pack(size, kind, number))
        self._parts += payload
        self._size += size
        if self._size > JOINED:
            self._flush()

    def close(self) -> None:
        """Send what is queued, then close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass
        self._loop = asyncio.get_running_loop()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._large is not None:
            return memoryview(self._large)[self._got :]
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._large is None:
            self._filled += nbytes
            self._take()
            return
        self._got += nbytes
        if self._got == len(self._large):
            whole, self._large = self._large, None
            self._receive(*self._about, whole)

    def pause_writing(self) -> None:
        self.flowing.clear()

    def resume_writing(self) -> None:
        self.flowing.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.flowing.set()
        self._lost()

    def flush(self) -> None:
        """Send what is queued now: who waits for nothing else need not wait for the loop's next turn, nor
        for the rest of this one, as uvloop would if any byte might wait."""
        if self._transport is not None:
            self._transport.set_write_buffer_limits(high=0)
            self._flush()
            self._transport.set_write_buffer_limits()

    def _flush(self) -> None:
        parts, large = self._parts, self._size > JOINED
        self._parts, self._size = [], 0
        if not parts or self._transport is None or self._transport.is_closing():
            return
        if large:
            self._transport.writelines([part for part in parts if part])
        else:
            self._transport.write(b"".join(parts))

    def _take(self) -> None:
        """Hand over every whole frame in the buffer, and move the rest to its beginning."""
        start, filled = 0, self._filled
        while filled - start >= HEADER.size:
            size, told, number = HEADER.unpack_from(self._buffer, start)
            kind = KINDS.get(told)
            if size > self._most or kind is None:
                self._hang_up()
                return
            begin = start + HEADER.size
            if begin + size > filled:
                if size > READ - HEADER.size:
                    self._read_apart(size, (kind, number), self._view[begin:filled])
                    start = filled
                break
            start = begin + size
            self._receive(kind, number, bytes(self._view[begin:start]))
        self._filled = filled - start
        if start and self._filled:
            self._view[: self._filled] = bytes(self._view[start:filled])

    def _hang_up(self) -> None:
        self._filled = 0
        if self._transport is not None:
            self._transport.abort()

    def _read_apart(self, size: int, about: tuple[Kind, int], first: memoryview) -> None:
        self._large, self._got, self._about = bytearray(size), len(first), about
        self._large[: self._got] = first


async def connect(end: socket.socket, wire: Wire) -> None:
    """Let `wire` speak through `end`, which it then owns."""
    end.setblocking(False)
    await asyncio.get_running_loop().create_connection(lambda: wire, sock=end)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends with large buffers."""
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return ends
