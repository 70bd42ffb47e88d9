"""Who hears that the tools changed: every connected client, of both protocol eras, on every transport."""

from __future__ import annotations

from collections.abc import AsyncIterable
from weakref import WeakKeyDictionary

import anyio
import mcp_types as types
from mcp.server.connection import Connection
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

from ...models import Notice
from .eras import Request, connection

SEND_LIMIT = 2.0
"""Seconds a session may take to accept an announcement before it is passed over."""


class Changes:
    """Announces changes: to modern clients on the streams they listen on, to others on their session.

    The SDK keeps no list of live sessions, so this does. A session on HTTP hears only while its client
    holds a stream open; what it missed is told when it opens the next one.
    """

    def __init__(self) -> None:
        self._bus = InMemorySubscriptionBus()
        self._listeners = ListenHandler(self._bus)
        self._number = 0
        self._told: WeakKeyDictionary[Connection, int] = WeakKeyDictionary()
        """The sessions, each with the number of the last change its client knows of."""
        self._streams: set[str] = set()
        """Ids of the HTTP sessions that hold a stream open."""
        self._opened = anyio.Event()

    async def follow(self, revisions: AsyncIterable[object]) -> None:
        """Announce each revision as it comes; runs until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._catch_up)
            async for _ in revisions:
                self._number += 1
                await self._bus.publish(ToolsListChanged())
                await self._tell()

    async def announce(self, notice: Notice) -> None:
        """Announce what a pipeline says has changed."""
        if notice.what == "tools":
            self._number += 1
            await self._bus.publish(ToolsListChanged())
            await self._tell()

    async def listen(
        self, request: Request, params: types.SubscriptionsListenRequestParams
    ) -> types.SubscriptionsListenResult:
        """Serve one `subscriptions/listen` stream; only what this server announces is granted."""
        granted = types.SubscriptionFilter(tools_list_changed=params.notifications.tools_list_changed)
        return await self._listeners(request, params.model_copy(update={"notifications": granted}))

    def admit(self, request: Request) -> None:
        """Tell this request's handshake-era session from now on, until it closes."""
        session = connection(request)
        if session.has_standalone_channel:
            self._told[session] = self._number
            session.exit_stack.callback(self._told.pop, session, None)

    def stream_opened(self, session_id: str) -> None:
        """The HTTP session's client holds a stream open: tell it what it missed, and what comes."""
        self._streams.add(session_id)
        self._opened.set()

    def stream_closed(self, session_id: str) -> None:
        """Its stream ended; what comes now waits for the next one."""
        self._streams.discard(session_id)

    def close(self) -> None:
        """End the listen streams, which would otherwise keep a stopping server waiting."""
        self._listeners.close()

    async def _catch_up(self) -> None:
        while True:
            await self._opened.wait()
            self._opened = anyio.Event()
            await self._tell()

    async def _tell(self) -> None:
        """Tell every session that is behind and can hear; one that does not read holds up no other."""
        async with anyio.create_task_group() as tasks:
            for session, number in list(self._told.items()):
                if number < self._number and self._hears(session):
                    self._told[session] = self._number
                    tasks.start_soon(tell, session)

    def _hears(self, session: Connection) -> bool:
        return session.session_id is None or session.session_id in self._streams


async def tell(session: Connection) -> None:
    """Send one announcement, within the limit."""
    with anyio.move_on_after(SEND_LIMIT):
        await session.send_tool_list_changed()
