"""The call that a connection has in flight, counted from when its body came until its answer is out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

if TYPE_CHECKING:
    from .connections import Connections


class Flight:
    """At most one at a time, for the answers of a connection come in order."""

    def __init__(self, connections: Connections, peer: str | None) -> None:
        self._all = connections
        self._peer = peer
        self._arriving: RequestResponseCycle | None = None
        """The call whose body still comes."""
        self._going: RequestResponseCycle | None = None
        """The call in flight. It is over with its answer, before its task: who has that may call again."""

    def start(self, call: RequestResponseCycle) -> None:
        """It is being served, whether or not all of it is there."""
        if call.more_body:
            self._arriving = call
            self._all.arriving += 1
        else:
            self._go(call)

    def arrived(self) -> None:
        """The last byte of a body came."""
        if (call := self._arriving) is not None:
            self._arrived()
            self._go(call)

    def answered(self) -> None:
        """Its answer is complete."""
        if self._going is not None:
            self._going = None
            self._all.end(self._peer)

    def over(self, call: RequestResponseCycle) -> None:
        """Nobody serves it any more."""
        if self._arriving is call:
            self._arrived()
        elif self._going is call:
            self.answered()

    def _go(self, call: RequestResponseCycle) -> None:
        self._going = call
        self._all.begin(self._peer)

    def _arrived(self) -> None:
        self._arriving = None
        self._all.arriving -= 1
