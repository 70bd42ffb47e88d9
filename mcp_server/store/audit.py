"""The audit log: who did what, when, from where, and what came of it. Values, and the way to their rows.

Each record holds a hash over itself and the record before it, and a head beside them tells the last one. So
a record that was changed, added or taken away is found. Light: the statements are in `audit_rows`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType

import orjson

from ..errors import ServerError
from ..models import Caller, Json
from .history import History

FIRST = "0" * 64
"""What the first record follows."""
LONGEST = 200
"""Characters of a text; what comes from outside may be of any length."""
DONE, DENIED, FAILED = "done", "denied", "failed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuditEvent:
    """Something that was done, or tried. No text in it says why, for such texts may hold a secret."""

    action: str
    """The management tool, `login`, or a route as `POST /models/register`."""
    caller: str = ""
    origin: str = ""
    """The surface."""
    peer: str = ""
    """The address it came from; empty over stdio."""
    subject: str = ""
    """What was acted upon: a pipeline, a key."""
    version: int | None = None
    digest: str | None = None
    """SHA-256 of the source, or of the tool's definition."""
    outcome: str = DONE
    """`done`, `denied`, or what kind of refusal it was."""


@dataclass(frozen=True)
class AuditRecord:
    """An event as it stands in the log. Numbers count from 1 without a gap."""

    number: int
    time: float
    """Seconds since the epoch."""
    event: AuditEvent
    hash: str

    def follows(self, before: str) -> bool:
        """True if its hash is right after a record with that hash."""
        return self.hash == chained(before, self.number, self.time, self.event)


@dataclass(frozen=True)
class Verdict:
    """What a look at the whole chain found: how many records it has, the last one's hash, what is wrong."""

    records: int
    head: str
    fault: str | None = None


@dataclass
class Noting:
    """An event while it happens."""

    subject: str = ""
    version: int | None = None
    digest: str | None = None

    def of(self, status: Json) -> None:
        """It was about the version that this status, or view of a version, tells."""
        self.version = int(status["version"]) if status.get("version") else self.version
        self.digest = status.get("digest") or self.digest


@dataclass
class Denials:
    """How often a peer was turned away lately, so that guessing fills no disk."""

    since: float = 0.0
    counts: dict[str, int] = field(default_factory=dict[str, int])


class Audit:
    """Append-only, and the same for all servers on one store."""

    PEERS, TIMES, MINUTE = 100, 10, 60.0
    """Denials that are noted: so many of so many peers each minute."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._denials = Denials()
        self.lost = 0
        """Events that could not be written; the log of the process has them."""

    async def note(self, event: AuditEvent) -> None:
        """Write an event; it is durable when this returns. Never fails; see `lost`."""
        event = clean(event)
        try:
            await self._history.change(lambda connection: _rows().append(connection, time.time(), event))
        except ServerError as error:
            self.lost += 1
            log.error("not in the audit log: %s %s: %s", event, event.outcome, error)

    @asynccontextmanager
    async def noting(
        self, action: str, caller: Caller, subject: str = "", version: int | None = None
    ) -> AsyncGenerator[Noting]:
        """Note what the block does, once it has ended, with its outcome."""
        noting, outcome = Noting(subject, version), FAILED
        try:
            yield noting
            outcome = DONE
        except ServerError as error:
            outcome = word(error)
            raise
        finally:
            who = (caller.name, caller.origin, caller.peer)
            what = (noting.subject, noting.version, noting.digest)
            await self.note(AuditEvent(action, *who, *what, outcome))

    def denied(self, event: AuditEvent) -> None:
        """Note that somebody was turned away, soon; of many times in a minute only the first ones."""
        now, denials = time.monotonic(), self._denials
        if now - denials.since > self.MINUTE:
            denials = self._denials = Denials(now)
        times = denials.counts.get(event.peer, 0)
        if times >= self.TIMES or (not times and len(denials.counts) >= self.PEERS):
            return
        denials.counts[event.peer] = times + 1
        kept = clean(event)
        self._history.later(lambda connection: _rows().append(connection, time.time(), kept))

    def changed(self, tools: Mapping[str, str]) -> None:
        """Note, soon, the tools whose definition is another than was noted last, by name with digests."""
        if tools:
            self._history.later(lambda connection: _rows().tools(connection, time.time(), tools))

    async def listed(self, limit: int, before: int | None = None) -> Sequence[AuditRecord]:
        """The newest first, older than the number `before`. Raises `Unavailable`."""
        return await self._history.ask(lambda connection: _rows().listed(connection, limit, before))


def word(error: ServerError) -> str:
    """A refusal in a word, such as `not_found`: its text may hold what somebody sent."""
    name = type(error).__name__
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name).removeprefix("_")


def clean(event: AuditEvent) -> AuditEvent:
    """The same with texts of one line that show what is in them."""
    texts = (event.action, event.caller, event.origin, event.peer, event.subject)
    action, caller, origin, peer, subject = map(shown, texts)
    return AuditEvent(
        action, caller, origin, peer, subject, event.version, event.digest, shown(event.outcome)
    )


def shown(text: str) -> str:
    """A text without what is invisible or moves what is shown: such characters are spelled out."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text[:LONGEST])


def chained(before: str, number: int, moment: float, event: AuditEvent) -> str:
    """SHA-256, in hex, over a record and the hash of the one before."""
    whole = [before, number, moment, event.action, event.caller, event.origin, event.peer, event.subject]
    whole += [event.version, event.digest, event.outcome]
    return hashlib.sha256(orjson.dumps(whole)).hexdigest()


def _rows() -> ModuleType:
    """Where the statements are; imported in a thread that has a connection, not before."""
    return import_module(f"{__package__}.audit_rows")
