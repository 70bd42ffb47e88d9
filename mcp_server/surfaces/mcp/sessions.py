"""How many sessions there may be, and which of them give way to new ones.

Whoever may open sessions could otherwise open so many that nobody else can.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import Scope

from ...errors import Unavailable
from ...models import Caller
from ...settings.bounding import Bounding

OPENING = 2
"""Messages of a client that only opens a session: `initialize`, and that it did."""
LOOK = 15.0
"""Seconds between two looks at the age of sessions."""


@dataclass(eq=False)
class Session:
    """One that is open, on `/mcp` or on `/sse`."""

    owner: str | None
    is_busy: Callable[[], bool]
    """Whether a request is in flight, or a stream open on which its client hears."""
    end: Callable[[], None]
    """Ends it at once; its id is unknown from then on."""
    messages: int = 1
    opened: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)

    def hear(self) -> None:
        """Its client sent something."""
        self.messages += 1
        self.seen = time.monotonic()

    @property
    def is_used(self) -> bool:
        """Whether its client did more than to open it."""
        return self.messages > OPENING


class Room:
    """The open sessions. One that is busy is never ended."""

    def __init__(self, limits: Bounding) -> None:
        self._limits = limits
        self._sessions: set[Session] = set()

    def admit(self, new: Session) -> None:
        """Let one in, in place of another one if it must be. Raises `Unavailable` if all others are busy."""
        limits = self._limits
        mine = [each for each in self._sessions if each.owner == new.owner] if new.owner is not None else []
        if len(mine) >= limits.max_sessions_per_caller:
            self._make_room(mine, "This client has as many sessions as it may; end one first.")
        elif len(self._sessions) >= limits.max_sessions:
            self._make_room([*self._sessions], "The server has as many sessions as it takes; try later.")
        self._sessions.add(new)

    def end_of(self, owner: str) -> None:
        """End all sessions of a caller, busy or not."""
        for each in [each for each in self._sessions if each.owner == owner]:
            self._end(each)

    def leave(self, gone: Session) -> None:
        """Count it out."""
        self._sessions.discard(gone)

    async def age(self) -> None:
        """End those that are too old as soon as they are not busy; runs until cancelled."""
        while True:
            await anyio.sleep(LOOK)
            oldest = time.monotonic() - self._limits.session_age
            for each in [each for each in self._sessions if each.opened < oldest]:
                if not each.is_busy():
                    self._end(each)

    def _make_room(self, candidates: list[Session], refusal: str) -> None:
        """End the one that was not heard of for longest, rather one that was never used."""
        idle = [each for each in candidates if not each.is_busy()]
        if not idle:
            raise Unavailable(refusal)
        self._end(min(idle, key=lambda each: (each.is_used, each.seen)))

    def _end(self, session: Session) -> None:
        self.leave(session)
        session.end()


def owned(scope: Scope) -> Scope:
    """The scope with its caller as the SDK knows one: to others their sessions are as if unknown."""
    caller: Caller = scope["state"]["caller"]
    token = AccessToken(token="", client_id=caller.name, scopes=[])
    return {**scope, "user": AuthenticatedUser(token)}
