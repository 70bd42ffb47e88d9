"""All connections of the listener: how many there may be, which keep us waiting, and the calls in flight."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..settings.bounding import Bounding
from .pacing import Refusals

if TYPE_CHECKING:
    from .protocol import Connection


class Connections:
    """All of them. What one owes us is in `waiting`, so that one look now and then finds who is late."""

    def __init__(
        self,
        limits: Bounding,
        is_shared: Callable[[str], bool],
        answered: Callable[[int], None] = lambda status: None,
    ) -> None:
        """`is_shared` tells of an address that many may come from, such as a trusted proxy's; `answered`
        hears the status of each answer that is given without asking the application."""
        self.limits = limits
        self.answered = answered
        self.waiting: dict[Connection, None] = {}
        """Those whose client has to do something next, in the order in which it had to."""
        self.refusals = Refusals()
        self.in_flight = 0
        """Calls that are being served."""
        self.arriving = 0
        """Calls whose body still comes. They take no place, or whoever sends slowly could keep others out."""
        self._most = limits.max_calls
        self._is_shared = is_shared
        self._calls: Counter[str] = Counter()
        self._of_peer: Counter[str] = Counter()
        self._count = 0
        self._swept = 0.0
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._written = b""

    def peer(self, address: str) -> str | None:
        """Who is behind an address; None if that may be many, as on this machine."""
        try:
            local = ipaddress.ip_address(address).is_loopback
        except ValueError:
            local = True  # a socket in the file system has no addresses
        return None if local or self._is_shared(address) else address

    def admit(self, new: Connection) -> bool:
        """Count it in, if need be at the cost of one that keeps us waiting; False if there is no room."""
        limits, of_peer = self.limits, self._of_peer
        if new.peer is not None and of_peer[new.peer] >= limits.max_connections_per_peer:
            admitted = self._evict(lambda each: each.peer == new.peer)
        else:
            admitted = self._count < limits.max_connections or self._evict(lambda each: True)
        if admitted:
            self._count += 1
            count(of_peer, new.peer, 1)
        return admitted

    def leave(self, gone: Connection) -> None:
        """Count it out."""
        self.waiting.pop(gone, None)
        self._count -= 1
        count(self._of_peer, gone.peer, -1)

    def has_room(self, peer: str | None) -> bool:
        """True if one more call may begin."""
        if self.in_flight >= self._most:
            return False
        return peer is None or self._calls[peer] < self.limits.max_calls_per_peer

    def begin(self, peer: str | None) -> None:
        """Count a call in."""
        self.in_flight += 1
        if peer is not None:
            count(self._calls, peer, 1)

    def end(self, peer: str | None) -> None:
        """Count it out."""
        self.in_flight -= 1
        if peer is not None:
            count(self._calls, peer, -1)

    def written(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """The headers of all answers as bytes; uvicorn makes others each second."""
        if headers is not self._headers:
            self._headers, self._written = headers, b"".join([b"%b: %b\r\n" % each for each in headers])
        return self._written

    def sweep(self, now: float) -> None:
        """End what was late at the last sweep, too: what came while we were busy has been read since then.

        To be called several times in the shortest of the deadlines.
        """
        before, self._swept = self._swept, now
        for each in [each for each in self.waiting if each.deadline <= before]:
            each.late(now)

    def _evict(self, fits: Callable[[Connection], bool]) -> bool:
        """Close the one that has kept us waiting longest, rather one that was never served."""
        candidates = [each for each in self.waiting if fits(each)]
        victim = next((each for each in candidates if not each.served), next(iter(candidates), None))
        if victim is not None:
            victim.drop()
        return victim is not None


def count(counts: Counter[str], peer: str | None, change: int) -> None:
    """Count up or down; nothing is kept of who has nothing, nor of those that may be many."""
    if peer is not None:
        counts[peer] += change
        if not counts[peer]:
            del counts[peer]


def socket(connection: Connection, **given: Any) -> asyncio.Protocol:
    """What a connection becomes that turns into a websocket, which few do."""
    from .sockets import Socket  # imports a library that only websockets need

    return Socket(connection, **given)
