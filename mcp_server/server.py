"""The whole server as one object, and the only place where its parts meet."""

from __future__ import annotations

import math
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from anyio import to_thread

from .access import Access
from .catalog import Catalog, Snapshot
from .catalog.definitions import Definitions
from .engines.routing import RoutingEngine
from .evaluation import Evaluations
from .evaluation.gate import Gate
from .limits.rates import Rates
from .limits.shared import ledger
from .models import Recording, Run
from .runs import Runs
from .runs.batches import Batches
from .runs.steps import RecordedRuns
from .settings import Settings
from .stepwise import Stepwise
from .stepwise.conducting import Conductor
from .store import Bound, Retention
from .store.audit import Audit
from .store.history import History
from .store.outbox import Outbox
from .store.tree import Tree
from .telemetry import lines
from .telemetry.spans import traced
from .telemetry.tally import Tally
from .webhooks import Webhooks

if TYPE_CHECKING:
    from .telemetry.tracing import Tracing
    from .tracking.telling import Telling
    from .tracking.upstream import Upstream


LEAST = 0.5
"""Seconds that worker processes get to end in any case, before they are killed."""


class Server:
    """Catalog, runs, history and engine, joined. Making one does no I/O; `async with` opens it.

    Entering returns at once: the store opens and the pipelines load in the background, so that a client
    is answered before either is done.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.access = Access(settings)
        self.history = History(settings.database(), retention(settings))
        self.outbox = Outbox(self.history)
        self.webhooks = Webhooks(settings, self.outbox)
        self.audit = Audit(self.history)
        self.ledger = ledger(settings)
        self.rates = Rates(settings, self.ledger)
        self.engine = RoutingEngine(settings)
        self.catalog = Catalog(settings, self.engine, self._catalog_changed)
        self.stepwise = Stepwise(self.catalog, self.engine, settings, Tree(self.history))
        conductor = Conductor(self.catalog, self.engine, self.stepwise)
        self.runs = Runs(self.catalog, conductor, settings, self.history, self.engine.slots)
        self.catalog.warn_of(self.runs.breakers.resting)
        self.tally = Tally()
        self.runs.told = self._run_ended
        self.batches = Batches(self.runs, self.catalog, self.history)
        self.recorded = RecordedRuns(self.runs, self.batches, self.catalog, settings, self.history)
        self.tracked: Upstream | None = None
        """The MLflow server, if one is configured."""
        self.telling: Telling | None = None
        if settings.tracking_url:
            self._track(settings.tracking_url.get_secret_value())
        self.tracing: Tracing | None = None
        """While the server is open, and OpenTelemetry is wanted."""
        self.evaluations = Evaluations(
            self.catalog, self.runs, self.batches, self.engine, settings, self.history
        )
        self.gate = Gate(self.catalog, self.evaluations, settings)
        self._stack = AsyncExitStack()
        self.opened = False
        self.stopping = False
        """Whether it was asked to stop: what was begun is answered, and nothing new begins."""
        self._ends = math.inf

    def stop(self) -> None:
        """Ask it to stop: what was begun may go on for `drain_timeout` seconds from now, nothing new begins.

        Closing asks so too. However often and early it is asked, the time runs once.
        """
        if not self.stopping:
            self.stopping = True
            self._ends = time.monotonic() + self.settings.drain_timeout

    @property
    def time_left(self) -> float:
        """Seconds that what goes on has yet, while it stops."""
        return max(0.0, self._ends - time.monotonic())

    def register(self, name: str, pipeline: object) -> None:
        """Serve a pipeline that this program made: no files, no worker process.

        It is a Haystack `Pipeline`, a wrapper, or a wrapper's class; several objects of one class are as many
        pipelines. It runs in this process, where nothing isolates it, goes before a pipeline of that name in
        the folder, and is gone when the server closes. Call it before the server opens. Raises `Invalid` for
        a name or an object that cannot be served, `Broken` for its options, `Conflict` if it is too late.
        """
        self.catalog.register(name, pipeline)

    def _track(self, url: str) -> None:
        from .tracking import telling, upstream  # the HTTP client costs 2 MB

        self.tracked = upstream.Upstream(url, self.settings.tracking_timeout)
        if self.settings.tracking_log:
            experiment = self.settings.tracking_experiment
            self.telling = telling.Telling(self.tracked, experiment, self._recording)

    def _catalog_changed(self, before: Snapshot, after: Snapshot) -> None:
        self.webhooks.catalog_changed(before, after)
        if self.telling is not None:
            self.telling.catalog_changed(before, after)

    def _recording(self, pipeline: str) -> Recording:
        entry = self.catalog.snapshot.entries.get(pipeline)
        return (entry and entry.options.record) or self.settings.record

    def _run_ended(self, run: Run) -> None:
        if self.telling is not None:
            self.telling.run_ended(run)
        self.tally.run_ended(run)
        lines.run_ended(run)
        self.webhooks.run_ended(run)

    async def __aenter__(self) -> Server:
        if self.settings.otlp_endpoint:
            self.tracing = await to_thread.run_sync(traced, self.settings.otlp_endpoint)
        await self._stack.enter_async_context(self.access)
        await self._stack.enter_async_context(self.history)
        self._stack.push_async_callback(self.ledger.close)
        await self._stack.enter_async_context(self.webhooks)
        if self.tracked is not None:
            await self._stack.enter_async_context(self.tracked)
        if self.telling is not None:
            await self._stack.enter_async_context(self.telling)
        await to_thread.run_sync(self.runs.uploads.open)
        await self._stack.enter_async_context(self.engine)
        await self._stack.enter_async_context(self.catalog)
        await self._stack.enter_async_context(Definitions(self.catalog, self.audit.changed))
        await self._stack.enter_async_context(self.stepwise)
        await self._stack.enter_async_context(self.recorded)
        await self._stack.enter_async_context(self.runs.elsewhere)
        self.opened, self.stopping = True, False
        return self

    async def __aexit__(self, *error: object) -> None:
        self.opened = False
        self.stop()
        await self.runs.close(self.time_left)
        self.engine.patience = max(LEAST, self.time_left)
        await self._stack.aclose()
        await to_thread.run_sync(self.runs.uploads.close)
        if self.tracing is not None:
            await to_thread.run_sync(self.tracing.close)


def retention(settings: Settings) -> Retention:
    """What history keeps."""
    return Retention(
        Bound(settings.keep_runs, settings.keep_days, settings.keep_bytes),
        Bound(settings.keep_steps, settings.keep_steps_days, settings.keep_steps_bytes),
        Bound(settings.keep_artifacts, settings.keep_artifacts_days, settings.keep_artifacts_bytes),
    )
