"""What front and host say to each other: framed messages over one stream socket.

A frame is a header of 13 bytes (length of the payload, kind, number of the call or load it belongs to;
big-endian) and the payload. Payloads are JSON, except ENDED: a JSON header with sizes, then the JSON texts
of a result and its artifacts side by side, so that neither end parses them.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import cast

import orjson

from ...content.encoder import dump
from ...models import Artifact, Result

HEADER = struct.Struct(">IBQ")
SIZE = struct.Struct(">I")
BUFFER = 2 * 1024 * 1024
"""Bytes of socket buffer; at the default of 208 KiB a frame of 1 MB takes three times as long."""


class Kind(IntEnum):
    """What a frame means; the first group goes to the host, the second comes back."""

    LOAD = 1  # a Member
    RUN = 2  # a Run
    STOP = 3  # stop the work of this call
    CLOSE = 4  # close the pipeline named in the payload
    END = 5  # close everything and exit
    ANSWER = 6  # the number of a question of this call, and its answers
    PING = 7  # asks whether the event loop is well

    LOADED = 16  # a Manifest
    BROKEN = 17  # a Problem
    EVENT = 18  # an Event
    ENDED = 19  # a Result; the call's work is over
    PONG = 20  # it is


KINDS = frozenset(map(int, Kind))
LONGEST = 2**32 - 1
"""Bytes of a payload, as far as the header can say."""
Frame = tuple[Kind, int, bytes]


class Wire(asyncio.Protocol):
    """One end of the conversation: calls `receive` for every frame and `lost` once at the end.

    Who sends a frame with a payload of more than `most` bytes, or of an unknown kind, is not listened to.
    """

    def __init__(
        self, receive: Callable[[Kind, int, bytes], None], lost: Callable[[], None], most: int = LONGEST
    ) -> None:
        self._receive = receive
        self._most = most
        self._lost = lost
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self.flowing = asyncio.Event()
        self.flowing.set()

    def send(self, kind: Kind, number: int, *payload: bytes) -> None:
        """Queue a frame; nothing happens on a closed wire. Call on the event loop."""
        if self._transport is not None and not self._transport.is_closing():
            header = HEADER.pack(sum(map(len, payload)), kind, number)
            self._transport.write(b"".join((header, *payload)))

    def close(self) -> None:
        """Send what is queued, then close."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while len(buffer) - start >= HEADER.size:
            size, kind, number = HEADER.unpack_from(buffer, start)
            end = start + HEADER.size + size
            if size > self._most or kind not in KINDS:
                self._hang_up()
                return
            if len(buffer) < end:
                break
            payload = bytes(memoryview(buffer)[start + HEADER.size : end])
            start = end
            self._receive(Kind(kind), number, payload)
        if start:
            del buffer[:start]

    def _hang_up(self) -> None:
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        self.flowing.clear()

    def resume_writing(self) -> None:
        self.flowing.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.flowing.set()
        self._lost()


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


def pack_result(result: Result) -> tuple[bytes, ...]:
    """The payload of an ENDED frame."""
    texts = (result.content, *(each.content for each in result.artifacts))
    head = dump(
        {
            "result": result.model_dump(include={"is_error", "fault", "refused", "partial"}),
            "artifacts": [(each.name, each.mime_type) for each in result.artifacts],
            "sizes": [*map(len, texts)],
            "structured": result.structured is not None,
        }
    )
    return SIZE.pack(len(head)), head, *texts, result.structured or b""


def unpack_result(payload: bytes) -> Result:
    """The inverse of `pack_result`."""
    start = SIZE.size + SIZE.unpack_from(payload)[0]
    head = orjson.loads(payload[SIZE.size : start])
    edges = [*accumulate(head["sizes"], initial=start)]
    content, *contents = (payload[begin:end] for begin, end in pairwise(edges))
    artifacts = (
        Artifact(name=name, mime_type=mime_type, content=each)
        for (name, mime_type), each in zip(head["artifacts"], contents, strict=True)
    )
    structured = payload[edges[-1] :] if head["structured"] else None
    return Result(content=content, structured=structured, artifacts=tuple(artifacts), **head["result"])
