"""Webhooks: tells the configured addresses what became of pipelines and runs.

A delivery is signed as the specification Standard Webhooks says (headers webhook-id, webhook-timestamp and
webhook-signature; HMAC-SHA256 over `id.timestamp.body`). It is sent at least once: tried again, later and
later, and by the next server if this one ends. Nobody waits for it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson
from anyio import to_thread

from .catalog import Entry, Snapshot
from .errors import ServerError
from .models import CALLS, Run, Webhook
from .settings import Settings
from .store.changes import new_id
from .store.outbox import Delivery, Outbox

if TYPE_CHECKING:
    import httpx2

WAITS = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Seconds before each further attempt."""
PATIENCE = 10.0
"""Seconds an address has to answer."""
OPEN = 1000
"""Deliveries that may be on their way; what comes then is dropped, and counted."""
AT_ONCE = 4
"""Attempts at one address at the same time."""
LEAVE = 2.0
"""Seconds that attempts get when the server stops; what is left then is for the next one."""
log = logging.getLogger(__name__)


class Webhooks:
    """Delivers while it is open. Without configured addresses it does nothing, and imports no HTTP client."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        waits: Sequence[float] = WAITS,
        patience: float = PATIENCE,
    ) -> None:
        self._urls = settings.webhooks or {}
        given = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
        self._secret = base64.b64decode(given.removeprefix("whsec_"))
        self._outbox = outbox
        self._waits = waits
        self._patience = patience
        self._slots = {event: asyncio.Semaphore(AT_ONCE) for event in self._urls}
        self._closing = asyncio.Event()
        self._open: dict[str, asyncio.Task[None]] = {}
        self._failing: set[str] = set()
        self.failed = 0
        """Deliveries given up since the server started."""
        self.dropped = 0
        """Deliveries never tried, for too many were on their way."""

    async def __aenter__(self) -> Webhooks:
        if self._urls:
            self._client = asyncio.create_task(to_thread.run_sync(_client))
            self._resuming = asyncio.create_task(self._resume())
        return self

    async def __aexit__(self, *error: object) -> None:
        if not self._urls:
            return
        self._closing.set()
        tasks = [self._resuming, *self._open.values()]
        await asyncio.wait(tasks, timeout=LEAVE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await (await self._client).aclose()

    @property
    def failing(self) -> int:
        """Deliveries that were tried in vain, and will be again."""
        return len(self._failing)

    def run_ended(self, run: Run) -> None:
        """Tell it of a call; returns at once."""
        if not self._urls or run.verb not in CALLS:
            return
        if run.status == "failed":
            self._tell("on_error", run.pipeline, run.version, run.status, run.id)
        self._tell("on_run", run.pipeline, run.version, run.status, run.id)

    def catalog_changed(self, before: Snapshot, after: Snapshot) -> None:
        """Tell what is deployed, undeployed or broken now; returns at once."""
        for event, entry in _moved(before, after) if self._urls else ():
            version = entry.version.number if entry.version else None
            status = "undeployed" if event == "on_undeploy" else entry.state
            self._tell(event, entry.name, version, status)

    def _tell(
        self, event: Webhook, pipeline: str, version: int | None, outcome: str, run: str | None = None
    ) -> None:
        url = self._urls.get(event)
        if url is None:
            return
        if len(self._open) >= OPEN:
            self.dropped += 1
            return
        place = urlsplit(url)
        target = f"{place.scheme}://{place.hostname}" + (f":{place.port}" if place.port else "")
        delivery = Delivery(new_id(), event, pipeline, version, run, outcome, time.time(), target)
        self._outbox.put(delivery)
        self._begin(delivery)

    def _begin(self, delivery: Delivery) -> None:
        self._open[delivery.id] = asyncio.create_task(self._deliver(delivery))
        self._open[delivery.id].add_done_callback(lambda _: self._forget(delivery.id))

    def _forget(self, identity: str) -> None:
        del self._open[identity]
        self._failing.discard(identity)

    async def _resume(self) -> None:
        """Go on with what a server that is gone has left."""
        try:
            left = await self._outbox.adopt()
        except ServerError as error:
            log.warning("Deliveries of an earlier server are not resumed: %s", error)
            return
        for delivery in left:
            if delivery.event in self._urls:
                self._begin(replace(delivery, attempts=0))
            else:
                self._outbox.put(replace(delivery, status="failed", error="no longer configured"))

    async def _deliver(self, delivery: Delivery) -> None:
        for wait in (0.0, *self._waits):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait)
            if self._closing.is_set():
                return
            async with self._slots[delivery.event]:
                delivery = await self._attempt(delivery)
            if delivery.status == "delivered":
                return
            self._failing.add(delivery.id)
        self.failed += 1
        self._outbox.put(replace(delivery, status="failed"))
        log.warning("The webhook %s of %s was given up.", delivery.event, delivery.pipeline)

    async def _attempt(self, delivery: Delivery) -> Delivery:
        """One attempt, written down. Only an answer in the 200s counts; a redirect is not followed."""
        client = await asyncio.shield(self._client)
        body = _body(delivery)
        headers = {"Content-Type": "application/json", **self._signed(delivery.id, body)}
        url = self._urls[delivery.event]
        code, error = None, None
        try:
            async with (
                asyncio.timeout(self._patience),
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                code = answer.status_code  # its body is nothing to us, and may never end
        except (
            Exception
        ) as fault:  # whatever the network and its libraries come up with, the next attempt is due
            error = type(fault).__name__
        delivered = code is not None and 200 <= code < 300
        tried = replace(delivery, attempts=delivery.attempts + 1, code=code, error=error)
        tried = replace(tried, status="delivered") if delivered else tried
        self._outbox.put(tried)
        return tried

    def _signed(self, identity: str, body: bytes) -> dict[str, str]:
        """The headers of the specification; signed anew at each attempt, because the time is part of it."""
        moment = str(int(time.time()))
        headers = {"webhook-id": identity, "webhook-timestamp": moment}
        if not self._secret:
            return headers
        total = hmac.new(self._secret, f"{identity}.{moment}.".encode() + body, hashlib.sha256)
        return headers | {"webhook-signature": f"v1,{base64.b64encode(total.digest()).decode()}"}


def _body(delivery: Delivery) -> bytes:
    """What is told: which run or pipeline, and what became of it; never inputs, results or reasons."""
    told = {
        "event": delivery.event,
        "pipeline": delivery.pipeline,
        "version": str(delivery.version) if delivery.version else None,
        "run_id": delivery.run,
        "status": delivery.outcome,
        "time": datetime.fromtimestamp(delivery.created, UTC).isoformat(timespec="milliseconds"),
    }
    return orjson.dumps({key: value for key, value in told.items() if value is not None})


def _moved(before: Snapshot, after: Snapshot) -> Iterator[tuple[Webhook, Entry]]:
    """What a change of the catalog comes down to."""
    for name in sorted({*before.entries, *after.entries}):
        old, new = before.entries.get(name), after.entries.get(name)
        served = old if old and old.serves else None
        if new and new.serves:
            if served is None or served.version != new.version:
                yield "on_deploy", new
        elif new and new.state == "error":
            if old is None or old.state != "error":
                yield "on_error", new
        elif served:
            yield "on_undeploy", served


def _client() -> httpx2.AsyncClient:
    """Made in a thread: to import it and to read certificates takes a while.

    Unless somebody chose a level, it logs no requests: addresses may hold secrets.
    """
    import httpx2

    logger = logging.getLogger("httpx2")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
    return httpx2.AsyncClient(follow_redirects=False)
