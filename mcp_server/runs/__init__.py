"""The life of a run: found, checked, run, asked, answered, ended, recorded. The one way to run a pipeline.

__init__    Runs: begin, attend, find, stop
admission   whether a call begins a run
live        a run that goes on in this process
ending      what becomes of it
aftermath   what is left to do then
lasting     how such a run is made durable
batches     one pipeline, many inputs
making      a run before it begins
readying    what is known of plain calls before
recorder    what a run tells of its components while it goes, kept
steps       runs whose components are recorded: gone on with, forked, rewound, shown
past        what runs were: read from history, as callers may see it
elsewhere   runs of other servers on the same store: stopped and answered through it
kept        ended runs that are remembered, as far as they fit
trail       what a run said, for who follows it
values      the value that a run gave
uploads     files that came with calls
cache       what calls gave, given again for a while
breakers    pipelines that only fail, not called for a while
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from ..artifacts import Artifacts
from ..catalog import Catalog, Serving, Stage
from ..engines import Runner
from ..errors import NotFound, Unavailable
from ..limits.slots import Slots
from ..models import CALLS, NO_CLIENT, Answers, Caller, Client, Emit, Json, Question, Recording, Run, Verb
from ..settings import Settings
from ..store.changes import Ids, new_id
from ..store.history import History
from ..store.tree import Watch, untold
from .admission import Admission
from .aftermath import Aftermath
from .breakers import Breakers
from .cache import Cache
from .elsewhere import Elsewhere
from .ending import parked
from .kept import Kept
from .lasting import commit, let_last
from .leaving import leave, make_room
from .live import Live, ignore, unsealed
from .making import again, bounded, check, made
from .past import Past
from .readying import Ready, readied
from .recorder import Recorder, Work, recorder_of
from .uploads import Supplied, Uploads

__all__ = ["Live", "Ready", "Runs", "ignore", "new_id"]


class Runs:
    """Calls pipelines, and keeps the runs that others may ask about."""

    def __init__(
        self, catalog: Catalog, engine: Runner, settings: Settings, history: History, slots: Slots
    ) -> None:
        """`slots` are the engine's."""
        self._catalog, self._history = catalog, history
        self.uploads = Uploads(settings.uploads_folder())
        self._settings, self._patience = settings, settings.answer_timeout
        self.turned: Watch = untold
        """Told of runs that go on here when one begins or ceases to wait, and when it has ended."""
        self.noticed: Emit = ignore  # as `Live.noticed`, of every run
        self.artifacts, self.cache = Artifacts(), Cache()
        self.breakers = Breakers(settings.breaker_failures, settings.breaker_pause)
        count = partial(catalog.count, failed=False)
        self._admission = Admission(self.breakers, slots, history, self.cache, count)
        self.told: Callable[[Run], None] = lambda run: None  # of each that ended; it must not wait
        self._aftermath = Aftermath(history, catalog, self._tell)
        self._going: dict[str, Live] = {}
        self._ids, self._kept = Ids(), Kept()
        self.past = Past(history, ChainMap(self._going, self._kept), self.artifacts)
        self.elsewhere = Elsewhere(history, self.past, self._going)
        self.engine = Supplied(engine, self.uploads, self.past.part)
        """Runs what is begun here, and what is gone on with."""

    async def start(
        self,
        caller: Caller,
        name: str,
        inputs: Json,
        *,
        verb: Verb = "call",
        client: Client | None = None,
        request_id: str = "",
        timeout: float | None = None,
        listener: Emit | None = None,
        key: str | None = None,
        parent: str | None = None,
        step: str | None = None,
        version: int | None = None,
        stage: Stage | None = None,
        detached: bool = False,
        task: bool = False,
        resting: bool = False,
    ) -> Live:
        """Begin a run of the pipeline `name`. `timeout` is in seconds and bounded by the settings. `version`
        or `stage` say which version; without, a call may fall to the one in staging. `resting`: see `find`.

        `detached`, and with an idempotency `key`, it goes on without its caller and is durable when this
        returns; if the caller gave the key before, it is the run that was begun then, however far it is.
        Otherwise, if the pipeline caches, it may be an earlier run that has ended. The components of a `task`
        are recorded from its beginning, should it last. `parent` and `step` say what it was made from.

        Raises `NotFound` for an unknown pipeline, `Invalid` for arguments that do not fit its schema,
        `Unavailable` for one that does not serve, is full or only fails, `Conflict` for a key used elsewhere.
        """
        check(caller, verb, name)
        entry = await self._catalog.find(name, version, stage, caller if verb in CALLS else None, resting)
        if verb == "call":
            entry.check(inputs)
        about = {"verb": verb, "client": client or NO_CLIENT, "request_id": request_id}
        about |= {"key": key, "parent": parent, "step": step}
        most = bounded(timeout, entry.version, self._settings)
        run = made(entry.version, caller, inputs, most, self._ids.new(), **about)
        recording, lasts = entry.options.record or self._settings.record, detached or key is not None
        recorder = recorder_of(entry, run, recording, self._history, lasts=lasts, may_last=task)
        run = run.model_copy(update={"continues": recorder.continues}) if recorder and lasts else run
        begun = self._begun(entry, run, recording, recorder, listener or ignore, lasts=lasts)
        return await (asyncio.shield(begun) if lasts else begun)  # what was committed begins, whoever leaves

    def ready(self, entry: Serving) -> Ready:
        """What plain calls of this pipeline need, as long as the present snapshot lasts."""
        return readied(entry, self._catalog.snapshot, self._settings, self._history)

    def begin(
        self, caller: Caller, ready: Ready, inputs: Json, client: Client, request_id: str, listener: Emit
    ) -> Live:
        """Begin a plain call for which nothing has to be waited for but room; raises as `start`."""
        check(caller, "call", ready.blank.pipeline)
        ready.check(inputs)
        run = again(ready.blank, caller, inputs, client, request_id, self._ids.new())
        self._admission.admit(run, ready.options, ready.manifest)
        (live := self._begin(run, self.engine.run, ready.recording, None)).listener = listener
        return live

    async def _begun(
        self, entry: Serving, run: Run, to: Recording, recorder: Recorder | None, hear: Emit, *, lasts: bool
    ) -> Live:
        if known := await self._admission.known(entry, run, to, lasts):
            return self._joined(known)
        if recorder is not None and recorder.keeps and not lasts:
            self._history.record(run, to)
        live = self._begin(run, self.engine.run, to, recorder)
        live.listener, live.lasting, live.shared = hear, lasts, lasts
        live.when_ended(partial(self.cache.keep, entry))
        return live

    async def launch(self, run: Run, work: Work) -> Live:
        """Commit a run, then begin it, as `start` does with a key; it goes on without its caller."""
        known = await (self._history.claim(run) if run.key else self._history.commit(run))
        return self._joined(known) if known else self.lasting(run, work, "full", None)

    def lasting(self, run: Run, work: Work, recording: Recording, recorder: Recorder | None) -> Live:
        """Begin a run that was committed; it goes on without its caller."""
        live = self._begin(run, work, recording, recorder)
        live.lasting = live.shared = True
        return live

    async def attend(self, live: Live, within: float | None = None) -> Question | None:
        """Wait as `Live.next`; if the one who waits is cancelled, so is a run that does not last.

        A run that takes longer than `within` seconds lasts from then on: it goes on without its caller, and
        is durable when this returns None, its status `running`. While a person is being asked, it may take
        as long again. If it cannot be made durable, it is waited for.
        """
        try:
            question = await live.patiently(within)
            if question is None and not live.run.ended and not await let_last(live, self._history):
                question = await live.next()
        except asyncio.CancelledError:
            if not live.lasting:
                live.cancel()
            raise
        if question is not None and not live.run.parked:
            live.shared = True
            live.listener = ignore
            make_room(self.going(), live.run.pipeline, max(1, self._settings.threads // 2))
            with suppress(Unavailable):  # a store that fails breaks no call; its status says so
                await commit(live, self._history)
        return question

    async def cancel(self, caller: Caller, identity: str) -> Run:
        """Stop a run, and wait until it has ended; one that has ended stays as it is.

        One of another server may still go when this returns; raises as `Elsewhere.cancel`, and `NotFound`.
        """
        run = await self.past.run(caller, identity)
        live = self._going.get(identity)
        if live is None or run.parked:
            return run if run.ended else await self.elsewhere.cancel(run)
        live.cancel()
        await live.end()
        return live.run

    async def answer(self, run: Run, number: int, answers: Answers) -> None:
        """Answer all or a part of the question `number` of a run, here or elsewhere.

        What it does not ask is ignored. Raises as `Elsewhere.answer`.
        """
        live = self._going.get(run.id)
        if live is not None and not live.run.parked:
            live.add(number, answers)
        elif not run.ended:
            await self.elsewhere.answer(run, number, answers)

    async def taken_up(self, caller: Caller, identity: str) -> Live:
        """A run by its id, wherever it is and however far. Raises `NotFound`."""
        with suppress(NotFound):
            return self.find(caller, identity)
        return self._joined(await self.past.run(caller, identity))

    def find(self, caller: Caller, identity: str) -> Live:
        """A run of this process by its id. Raises `NotFound` if there is none, or if it is another's."""
        live = self._going.get(identity) or self._kept.get(identity)
        if live is None or live.run.caller.name != caller.name:
            raise NotFound(f"There is no run {identity[:64]}.")
        return live

    def live(self, identity: str) -> Live | None:
        """The run if it goes on here, whoever began it."""
        return self._going.get(identity)

    async def close(self, within: float) -> None:
        """Let what goes on end within these seconds, and be recorded. Nobody can answer any more."""
        await leave(self.going, within)
        self._aftermath.settle()

    def going(self) -> list[Live]:
        """Those that go on here."""
        return list(self._going.values())

    def _begin(self, run: Run, work: Work, recording: Recording, recorder: Recorder | None) -> Live:
        begin = self.engine.begin if recorder is None and work == self.engine.run else None
        work = recorder.around(work) if recorder else work
        live = Live(run, work, self._seal, self._patience, self._turned, begin, self._ended)
        live.recording, live.recorder, live.noticed = recording, recorder, self.noticed
        self._going[run.id] = live
        return live

    def _turned(self, identity: str) -> None:
        """What a run waits for is told to other servers, too."""
        if (live := self._going.get(identity)) and live.shared:
            self._history.record(live.run, live.recording, promised=True)
        self.turned(identity)

    def _joined(self, known: Run) -> Live:
        """A run that was begun before: the one that goes on, or what is recorded or kept of it."""
        if live := self._going.get(known.id):
            return live
        work = parked if known.parked else self.past.followed
        live = Live(known, work, unsealed, self._settings.answer_timeout, self.turned)
        live.question, live.lasting = known.question, not known.cached
        return live

    def _seal(self, live: Live, run: Run) -> Run | Awaitable[Run]:
        """Record the end: for good and before anyone hears of it if the id is known, else soon after."""
        run = run.model_copy(update=live.recorder.told()) if live.recorder else run
        kept = self.artifacts.keep(run)
        if live.shared:
            return self._committed(run, live.recording, kept)
        live.unrecorded = run
        return kept

    async def _committed(self, run: Run, recording: Recording, kept: Run) -> Run:
        with suppress(Unavailable):  # a store that fails breaks no call; its status says so
            await self._history.commit(run, recording)
        return kept

    def _ended(self, live: Live) -> None:
        run = live.run
        del self._going[run.id]
        self._admission.leave(run)
        if run.ended:  # else another server goes on with it
            self.breakers.ended(run)
        if live.shared and not run.parked:  # what waits as a row is read there
            self._kept.keep(live)
        self._aftermath.add(live)

    def _tell(self, run: Run) -> None:
        if run.ended:
            self.told(run)
        self.turned(run.id)
