"""Rates: how often somebody may ask. Counters as values, what to count for whom, and a ledger in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from ..errors import Limited
from ..models import Caller
from ..settings import Settings

Kind = Literal["register", "lineage", "impact"]
"""Requests that are counted once more, by themselves."""
Counter = tuple[float, int]
"""Of a window: when it began, and what was used. Of a bucket: when it is full again, and nothing."""
Counters = Mapping[str, Counter]
"""A caller's, by the names of their rules."""
UNCOUNTED = frozenset({"anyone", "nobody"})
"""The names of callers without a credential: trusted, or turned away."""
REFUSED = "Rate limit exceeded"
HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
WRITTEN = "".join(f"{name.lower()}: %d\r\n" for name in HEADERS).encode()
HOUR, MINUTE = 3600.0, 60.0
KEPT = 10_000
"""Callers whose counters are remembered; those that asked last."""


@dataclass(frozen=True)
class Window:
    """So many requests in so many seconds, from the first one on. Exact: a new window begins empty."""

    name: str
    limit: int
    seconds: float

    def taken(self, counter: Counter | None, now: float) -> tuple[Counter, Standing]:
        """The counter after one more request, and how the caller stands then."""
        began, used = counter or (now, 0)
        if not began <= now < began + self.seconds:  # over; or the clock was set back
            began, used = now, 0
        reset = began + self.seconds
        if used >= self.limit:
            return (began, used), Standing(self.limit, 0, reset, reset - now)
        return (began, used + 1), Standing(self.limit, self.limit - used - 1, reset)


@dataclass(frozen=True)
class Bucket:
    """So many requests a second in the long run, and `burst` at once (GCRA, ITU-T I.371)."""

    name: str
    rate: float
    burst: int

    def taken(self, counter: Counter | None, now: float) -> tuple[Counter, Standing]:
        """The same as a window's."""
        each = 1 / self.rate
        whole = self.burst * each
        full = max(now, counter[0]) if counter else now
        if full > now + whole + each:  # the clock was set back
            full = now
        if full - now > whole - each + 1e-9:
            return (full, 0), Standing(self.burst, 0, full, full - now - whole + each)
        full += each
        return (full, 0), Standing(self.burst, int((whole - (full - now)) * self.rate + 1e-6), full)


Rule = Window | Bucket


class Standing(NamedTuple):
    """What a caller has left of a limit. `reset` is when it has all again, in seconds since the epoch."""

    limit: int
    remaining: int
    reset: float
    after: float | None = None
    """Seconds until the next request is let through; None if this one was."""

    def told(self) -> dict[str, str]:
        """As HTTP headers: what is left, and when the caller has all again, in seconds since the epoch."""
        return dict(zip(HEADERS, map(str, self._figures()), strict=True))

    def written(self) -> bytes:
        """The same, as they are sent."""
        return WRITTEN % self._figures()

    def _figures(self) -> tuple[int, int, int]:
        return self.limit, self.remaining, math.ceil(self.reset)


def taken(rules: Sequence[Rule], counters: Counters, now: float) -> tuple[Counters, Standing]:
    """Take one request of every rule, or of none. Gives the counters then, and the standing to tell.

    That is the one that refused, else the one of the first rule.
    """
    made, first = dict(counters), None
    for rule in rules:
        made[rule.name], standing = rule.taken(counters.get(rule.name), now)
        if standing.after is not None:
            return counters, standing
        first = first or standing
    assert first is not None, "whoever has no rules is not counted"
    return made, first


class Ledger(Protocol):
    """Where the counters are."""

    async def take(self, caller: str, rules: Sequence[Rule]) -> Standing:
        """As `taken`, of this caller's counters, now."""
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...


class Memory:
    """The counters of this server alone. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counters: dict[str, Counters] = {}

    async def take(self, caller: str, rules: Sequence[Rule]) -> Standing:
        """See `Ledger`."""
        return self.taken(caller, rules)

    def taken(self, caller: str, rules: Sequence[Rule]) -> Standing:
        """The same at once."""
        counters, standing = taken(rules, self._counters.pop(caller, {}), self._clock())
        self._counters[caller] = counters  # at the end: it asked last
        if len(self._counters) > KEPT:
            del self._counters[next(iter(self._counters))]
        return standing

    async def close(self) -> None:
        """See `Ledger`."""


class Rates:
    """What is counted, for whom."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self._ledger = ledger
        self._hour = settings.rate_per_hour
        bucket = Bucket("second", settings.rate_per_second or math.inf, settings.rate_burst)
        self._bucket = (bucket,) if settings.rate_per_second else ()
        limits: dict[Kind, int] = {
            "register": settings.register_per_minute,
            "lineage": settings.lineage_per_minute,
            "impact": settings.lineage_per_minute,
        }
        self._kinds = {kind: (Window(kind, limit, MINUTE),) for kind, limit in limits.items() if limit}

    async def request(self, caller: Caller, kind: Kind | None = None) -> Standing | None:
        """Count a request; None for a caller that has no limits."""
        rules = self.rules(caller, kind)
        return await self._ledger.take(caller.name, rules) if rules else None

    @property
    def at_hand(self) -> bool:
        """True if nobody has to be waited for to count."""
        return isinstance(self._ledger, Memory)

    def counted(self, caller: str, rules: Sequence[Rule]) -> Standing:
        """Count a request of the caller of that name, which has these rules; the ledger must be at hand."""
        assert isinstance(self._ledger, Memory)
        return self._ledger.taken(caller, rules)

    def rules(self, caller: Caller, kind: Kind | None = None) -> Sequence[Rule]:
        """What its requests are counted by; nothing for a caller that has no limits."""
        if caller.name in UNCOUNTED:
            return ()
        hour = self._hour if caller.rate is None else caller.rate
        own = self._kinds.get(kind, ()) if kind else ()
        second = caller.per_second
        bucket = (Bucket("second", second, math.ceil(2 * second)),) if second else self._bucket
        return (*own, *((Window("hour", hour, HOUR),) if hour else ()), *bucket)

    async def count(self, caller: Caller, kind: Kind) -> None:
        """Count what was asked for within a request that was counted. Raises `Limited`."""
        rules = self._kinds.get(kind, ())
        if caller.name in UNCOUNTED or not rules:
            return
        standing = await self._ledger.take(caller.name, rules)
        if standing.after is not None:
            raise Limited(f"{REFUSED}; try again in {math.ceil(standing.after)} seconds.", standing.after)
