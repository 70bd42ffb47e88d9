"""What was sent on the streams of a handshake-era session, for a client whose stream ended too soon.

A client that reconnects with Last-Event-ID gets the rest of that stream (MCP 2025-11-25, transports,
resumability), also after a stream that was closed on purpose so that the client polls (SEP-1699). The newer
era has no such thing.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sized
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
import mcp_types as types
from mcp.server.streamable_http import GET_STREAM_KEY, EventCallback, EventMessage, EventStore
from mcp.shared.dispatcher import coerce_request_id

EVENTS = 1000
"""Events kept per session."""
SESSION_BYTES = 8 * 2**20
"""Bytes of events kept per session. The latest event is kept whatever its size."""
ALL_BYTES = 64 * 2**20
"""Bytes that all sessions share: with many of them, each keeps its part of these."""

ANNOUNCEMENTS = 0
"""Number of the stream for what belongs to no request; it does not end."""

EVENT_ID = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")
"""The number of the stream, and of the event in the session."""


class Event(NamedTuple):
    """A message that was sent, as JSON; empty if it only opened the stream."""

    number: int
    message: bytes


@dataclass(eq=False)
class Stream:
    """The messages about one request up to its response, or the announcements."""

    number: int
    events: deque[Event] = field(default_factory=deque[Event])
    news: anyio.Event = field(default_factory=anyio.Event)
    ended: bool = False
    reader: object = None
    """Who reads now: a client that comes back takes over from its own broken connection."""

    def after(self, number: int) -> Event | None:
        """The first event that is newer, if there is one."""
        return next((event for event in self.events if event.number > number), None)

    def tell(self) -> None:
        """Wake whoever reads."""
        self.news.set()
        self.news = anyio.Event()


class SessionEvents(EventStore):
    """The events of one session: bounded, and gone with it. Its ids are good in this session only."""

    def __init__(self, sessions: Sized) -> None:
        self._sessions = sessions
        self._latest = 0
        self._streams = {ANNOUNCEMENTS: Stream(ANNOUNCEMENTS)}
        self._open = {GET_STREAM_KEY: self._streams[ANNOUNCEMENTS]}
        self._count = self._bytes = 0

    def in_flight(self, request_id: types.RequestId) -> bool:
        """True if the request is not answered yet, whether or not anybody reads its stream."""
        if not self.is_awaited:
            return False
        wanted = coerce_request_id(request_id)
        return any(coerce_request_id(stream_id) == wanted for stream_id in self._open)

    @property
    def is_awaited(self) -> bool:
        """True if any request is not answered yet."""
        return len(self._open) > 1  # the announcements are always open

    def knows(self, event_id: str) -> bool:
        """True if the stream of this event can be resumed."""
        return self._found(event_id) is not None

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        """Keep a message, None if its stream is being opened; gives the id of the event."""
        stream = self._open.get(stream_id) or self._opened(stream_id)
        data = message.model_dump_json(by_alias=True, exclude_unset=True).encode() if message else b""
        event = Event(self._next(), data)
        stream.events.append(event)
        self._count, self._bytes = self._count + 1, self._bytes + len(data)
        if stream.number != ANNOUNCEMENTS and isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            stream.ended = True
            del self._open[stream_id]
        self._trim(event)
        stream.tell()
        return f"{stream.number}.{event.number}"

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> None:
        """Send what followed that event on its stream and what is still to come, until the stream ends.

        Gives no stream for the SDK to go on with: that would miss what is sent between the two, and leave
        the response open after its last message.
        """
        if (found := self._found(last_event_id)) is None:
            return
        stream, number = found
        reader = stream.reader = object()
        stream.tell()
        while stream.reader is reader:
            news = stream.news
            if event := stream.after(number):
                number = event.number
                await send(stream, event, send_callback)
            elif stream.ended:
                return
            else:
                await news.wait()

    def close(self) -> None:
        """End every stream: the session has ended."""
        for stream in self._streams.values():
            stream.ended = True
            stream.tell()

    def _found(self, event_id: str) -> tuple[Stream, int] | None:
        parts = EVENT_ID.fullmatch(event_id)
        if parts is None or int(parts[2]) > self._latest or int(parts[1]) not in self._streams:
            return None
        return self._streams[int(parts[1])], int(parts[2])

    def _next(self) -> int:
        self._latest += 1
        return self._latest

    def _opened(self, stream_id: str) -> Stream:
        stream = Stream(self._next())
        self._streams[stream.number] = self._open[stream_id] = stream
        return stream

    def _trim(self, latest: Event) -> None:
        """Forget the oldest events of the oldest stream, until the rest is within bounds."""
        limit = min(SESSION_BYTES, ALL_BYTES // max(1, len(self._sessions)))
        while self._count > EVENTS or self._bytes > limit:
            stream = next(each for each in self._streams.values() if each.events)
            if stream.events[0] is latest:
                return
            self._count, self._bytes = self._count - 1, self._bytes - len(stream.events.popleft().message)
            if stream.ended and not stream.events:
                del self._streams[stream.number]


def announces(event_id: str) -> bool:
    """True for an event of the stream that belongs to no request."""
    return event_id.startswith(f"{ANNOUNCEMENTS}.")


async def send(stream: Stream, event: Event, send_callback: EventCallback) -> None:
    """Send an event again, unless all it did was to open the stream."""
    if event.message:
        message = types.jsonrpc_message_adapter.validate_json(event.message)
        await send_callback(EventMessage(message, f"{stream.number}.{event.number}"))
