"""Who hears of changes: every connected client, of both protocol eras, on every transport.

A topic is a list (`tools`, `prompts`, `resources`), which every client hears of, or the URI of a resource,
which its subscribers do.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from weakref import WeakKeyDictionary

import anyio
import mcp_types as types
from anyio.abc import TaskGroup
from mcp.server.connection import Connection
from mcp.server.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError

from ...models import Event, Notice
from ..quotas import Quota
from .eras import Request, connection
from .streams import Streams

SUBSCRIBED = 1000
"""Resources one session, or one listen stream, may subscribe to."""

LISTS: Mapping[str, ServerEvent] = MappingProxyType(
    {"tools": ToolsListChanged(), "prompts": PromptsListChanged(), "resources": ResourcesListChanged()}
)
SENDERS = MappingProxyType(
    {
        "tools": Connection.send_tool_list_changed,
        "prompts": Connection.send_prompt_list_changed,
        "resources": Connection.send_resource_list_changed,
    }
)


@dataclass
class Session:
    """What a handshake-era client subscribed to, and what it has to be told yet, in order."""

    uris: set[str] = field(default_factory=set[str])
    due: dict[str, None] = field(default_factory=dict[str, None])
    is_told: bool = False
    """While something is being sent to it."""


class Changes:
    """Announces changes: to modern clients on the streams they listen on, to others on their session.

    The SDK keeps no list of live sessions, so this does. A session on HTTP hears only while its client
    holds a stream open; what it missed is told when it opens the next one.
    """

    def __init__(self, quota: Quota) -> None:
        """`quota` is of the streams that clients hold open."""
        self._listening = Streams(quota)
        self._sessions: WeakKeyDictionary[Connection, Session] = WeakKeyDictionary()
        self._subscribed = False
        """True once a session has subscribed to anything."""
        self._streams: set[str] = set()
        """Ids of the HTTP sessions that hold a stream open."""
        self._updated: dict[str, None] = {}
        """Resources whose followers are to be told, in order."""
        self._news = anyio.Event()

    async def follow(
        self, revisions: AsyncIterable[object], topics: Callable[[], Mapping[str, object]]
    ) -> None:
        """At each revision, announce every topic that has another value now; runs until cancelled."""
        known = topics()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell, tasks)
            async for _ in revisions:
                before, known = known, topics()
                moved = [topic for topic in {**before, **known} if before.get(topic) != known.get(topic)]
                await self._announce([*moved, *self._below(moved)])

    async def announce(self, event: Event) -> None:
        """Announce what a pipeline says has changed; other events are passed over."""
        if isinstance(event, Notice):
            topic = event.uri if event.what == "resource" else event.what
            await self._announce([topic] if topic is not None else [])

    async def listen(
        self, request: Request, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one `subscriptions/listen` stream (2026-07-28)."""
        return await self._listening.serve(request, params)

    def updated(self, uri: str) -> None:
        """Announce soon that a resource was updated; several times at once count as one."""
        if self._listening.follow(uri) or any(uri in session.uris for session in self._sessions.values()):
            self._updated[uri] = None
            self._news.set()

    @property
    def followed(self) -> bool:
        """True if anybody may follow a resource: a stream is open, or a session has subscribed to one."""
        return self._listening.open or self._subscribed

    def admit(self, request: Request) -> None:
        """Tell this request's handshake-era session from now on, until it closes."""
        session = connection(request)
        if session.has_standalone_channel:
            self._sessions[session] = Session()
            session.exit_stack.callback(self._sessions.pop, session, None)

    def subscribe(self, request: Request, uri: str) -> None:
        """Tell this request's session of updates of a resource. Raises `MCPError` for one too many."""
        if session := self._sessions.get(connection(request)):
            check_count(len(session.uris) + 1)
            session.uris.add(uri)
            self._subscribed = True

    def unsubscribe(self, request: Request, uri: str) -> None:
        """Tell it no more; nothing happens if it was not told."""
        if session := self._sessions.get(connection(request)):
            session.uris.discard(uri)
            session.due.pop(uri, None)

    def stream_opened(self, session_id: str) -> None:
        """The HTTP session's client holds a stream open: tell it what it missed, and what comes."""
        self._streams.add(session_id)
        self._news.set()

    def stream_closed(self, session_id: str) -> None:
        """Its stream ended; what comes now waits for the next one."""
        self._streams.discard(session_id)

    def close(self) -> None:
        """End the listen streams, which would otherwise keep a stopping server waiting."""
        self._listening.close()

    def _below(self, moved: Iterable[str]) -> list[str]:
        """What is followed of the pipelines whose cards are among these: diagrams, sources, versions."""
        cards = set(moved)
        followed = self._listening.followed.union(*(session.uris for session in self._sessions.values()))
        return sorted(uri for uri in followed - cards if "/".join(uri.split("/", 3)[:3]) in cards)

    async def _announce(self, topics: Iterable[str]) -> None:
        for topic in topics:
            await self._listening.publish(LISTS.get(topic) or ResourceUpdated(topic))
            for session in self._sessions.values():
                if topic in LISTS or topic in session.uris:
                    session.due[topic] = None
                    self._news.set()

    async def _tell(self, tasks: TaskGroup) -> None:
        """Tell the sessions that are behind and can hear; one that does not read holds up nobody."""
        while True:
            await self._news.wait()
            self._news = anyio.Event()
            updated, self._updated = self._updated, {}
            await self._announce(updated)
            for client, session in self._sessions.items():
                if session.due and not session.is_told and self._hears(client):
                    session.is_told = True
                    tasks.start_soon(self._catch_up, client, session)

    async def _catch_up(self, client: Connection, session: Session) -> None:
        """Tell one session; what changes again meanwhile is told again, once."""
        try:
            while session.due and self._hears(client):
                topic = next(iter(session.due))
                del session.due[topic]
                await tell(client, topic)
        finally:
            session.is_told = False

    def _hears(self, client: Connection) -> bool:
        return client.session_id is None or client.session_id in self._streams


def check_count(resources: int) -> None:
    """Raise `MCPError` if these are too many to follow."""
    if resources > SUBSCRIBED:
        text = f"At most {SUBSCRIBED} resources can be subscribed to at once."
        raise MCPError(types.INVALID_PARAMS, text)


async def tell(client: Connection, topic: str) -> None:
    """Announce to one client; waits until it is sent, or cannot be any more."""
    if send := SENDERS.get(topic):
        await send(client)
    else:
        await client.send_resource_updated(topic)
