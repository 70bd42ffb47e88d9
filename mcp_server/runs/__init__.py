"""The life of a run: found, checked, run, asked, answered, ended, recorded. The one way to run a pipeline.

__init__    Runs: begin, call, find, repeat, stop
live        a run that goes on in this process
batches     one pipeline, many inputs
past        what runs were: read from history, as callers may see it
cache       what calls gave, given again for a while
"""

from __future__ import annotations

import asyncio
from collections import ChainMap, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import anyio

from ..artifacts import PART, Address, Artifacts, Part
from ..catalog import Catalog, Serving, Stage
from ..engines import Runner
from ..errors import Conflict, NotFound, Unavailable
from ..models import CALLS, Caller, Client, Emit, Json, Question, Recording, Run, Verb
from ..settings import Settings
from ..store.changes import new_id
from ..store.history import History
from ..store.tree import Watch, untold
from .cache import Cache
from .live import Live, Work, ignore, unsealed
from .past import Past

__all__ = ["Live", "Runs", "ignore", "new_id"]

KEPT = 1000
"""Ended runs that are remembered because somebody was given their id."""
LEAVE = 5.0
"""Seconds that runs get to be recorded when the server stops."""


class Runs:
    """Calls pipelines, and keeps the runs that others may ask about."""

    def __init__(self, catalog: Catalog, engine: Runner, settings: Settings, history: History) -> None:
        self._catalog = catalog
        self._engine = engine
        self._settings = settings
        self._history = history
        self.turned: Watch = untold
        """Told of runs that go on here when one begins or ceases to wait, and when it has ended."""
        self.artifacts, self.cache = Artifacts(), Cache()
        self.told: Callable[[Run], None] = lambda run: None
        """Hears of each run that ended; it must not wait."""
        self._going: dict[str, Live] = {}
        self._kept: OrderedDict[str, Live] = OrderedDict()
        self.past = Past(history, ChainMap(self._going, self._kept))

    async def start(
        self,
        caller: Caller,
        name: str,
        inputs: Json,
        *,
        verb: Verb = "call",
        client: Client | None = None,
        timeout: float | None = None,
        listener: Emit | None = None,
        key: str | None = None,
        parent: str | None = None,
        step: str | None = None,
        version: int | None = None,
        stage: Stage | None = None,
        detached: bool = False,
    ) -> Live:
        """Begin a run of the pipeline `name`. `timeout` is in seconds and bounded by the settings.

        `version` or `stage` say which version; without, a call may fall to the one in staging.

        `detached`, and with an idempotency `key`, it goes on without its caller and is durable when this
        returns; if the caller gave the key before, it is the run that was begun then, however far it is.
        Otherwise, if the pipeline caches, it may be an earlier run that has ended. `parent` and `step` say
        what it was made from.

        Raises `NotFound` for an unknown pipeline, `Invalid` for arguments that do not fit its schema,
        `Unavailable` for one that does not serve, and `Conflict` for a key that was used for another call.
        """
        entry = await self._catalog.find(name, version, stage, caller if verb in CALLS else None)
        if verb == "call":
            entry.check(inputs)
        run = self._made(entry, caller, inputs, timeout).model_copy(
            update={"verb": verb, "client": client or Client(), "key": key, "parent": parent, "step": step}
        )
        recording = entry.options.record or self._settings.record
        if key is not None and (known := await self._history.claim(run, recording)):
            return self._joined(known)
        if detached and key is None:
            await self._history.commit(run, recording)
        elif key is None and parent is None and verb == "call" and (known := self.cache.find(entry, run)):
            self._history.hit(name)
            self._catalog.count(name, failed=False)
            return self._joined(known)
        live = self._begin(run, self._engine.run, recording)
        live.listener = listener or ignore
        live.lasting = live.shared = detached or key is not None
        live.when_ended(partial(self.cache.keep, entry))
        return live

    async def launch(self, run: Run, work: Work, recording: Recording = "full") -> Live:
        """Commit a run, then begin it; it goes on without its caller. Raises `Unavailable`."""
        await self._history.commit(run, recording)
        live = self._begin(run, work, recording)
        live.lasting = live.shared = True
        return live

    async def call(
        self, caller: Caller, name: str, inputs: Json, listener: Emit, *, timeout: float | None = None
    ) -> Run:
        """Run to the end, or until it waits for an answer: the run then has the status `waiting`.

        A failure is the run's `status` and `result`. Cancelling this call stops the run. Raises as `start`.
        """
        live = await self.start(caller, name, inputs, timeout=timeout, listener=listener)
        await self.attend(live)
        return live.run

    async def attend(self, live: Live, within: float | None = None) -> Question | None:
        """Wait as `Live.next`; if the one who waits is cancelled, so is a run that does not last.

        A run that takes longer than `within` seconds lasts from then on: it goes on without its caller, and
        is durable when this returns None, its status `running`. While a person is being asked, it may take
        as long again. If it cannot be made durable, it is waited for.
        """
        try:
            question = await self._patiently(live, within)
            if question is None and not live.run.ended and not await self._lasts(live):
                question = await live.next()
        except asyncio.CancelledError:
            if not live.lasting:
                live.cancel()
            raise
        if question is not None:
            live.shared = True
            live.listener = ignore
            self._make_room(live.run.pipeline)
            with suppress(Unavailable):  # a store that fails breaks no call; its status says so
                await self._history.commit(live.run, live.recording)
        return question

    def _make_room(self, pipeline: str) -> None:
        """Stop the run that waits longest if too many of one pipeline wait: each may hold a thread."""
        waiting = [each for each in self._left() if each.question and each.run.pipeline == pipeline]
        if len(waiting) > max(1, self._settings.threads // 2):
            min(waiting, key=lambda each: each.changed).cancel()

    async def _patiently(self, live: Live, within: float | None) -> Question | None:
        while True:
            with anyio.move_on_after(within):
                return await live.next()
            if live.run.ended:  # it is being recorded
                await live.end()
            if not live.asking:
                return None

    async def _lasts(self, live: Live) -> bool:
        """Let a run go on without its caller, durably; false if the store does not work."""
        if live.lasting:
            return True
        live.shared = True  # from here on its end is committed, and that comes after this
        try:
            await self._history.commit(live.run, live.recording)
        except Unavailable:
            return False
        live.lasting = True
        return True

    async def rerun(self, caller: Caller, identity: str, *, timeout: float | None = None) -> Live:
        """Begin a run with the inputs of another one, of the pipeline as it is now. Raises as `start`.

        Raises `NotFound`, and `Conflict` for a run whose inputs were not recorded.
        """
        run = await self.past.run(caller, identity)
        if run.verb != "call":
            raise Conflict(f"Run {identity} is no call of a pipeline.")
        if not run.has_inputs:
            raise Conflict(f"The inputs of run {identity} were not recorded.")
        return await self.start(
            caller, run.pipeline, run.inputs, timeout=timeout, parent=run.id, detached=True
        )

    async def cancel(self, caller: Caller, identity: str) -> Run:
        """Stop a run, and wait until it has ended; one that has ended stays as it is.

        Raises `NotFound`, and `Conflict` for one that another server runs.
        """
        live = self._going.get(identity)
        if live is None:
            run = await self.past.run(caller, identity)
            if not run.ended:
                raise Conflict(f"Run {identity} belongs to another server; cancel it there.")
            return run
        live = self.find(caller, identity)
        live.cancel()
        await live.end()
        return live.run

    def find(self, caller: Caller, identity: str) -> Live:
        """A run of this process by its id. Raises `NotFound` if there is none, or if it is another's."""
        live = self._going.get(identity) or self._kept.get(identity)
        if live is None or live.run.caller.name != caller.name:
            raise NotFound(f"There is no run {identity[:64]}.")
        return live

    def live(self, identity: str) -> Live | None:
        """The run if it goes on here, whoever began it."""
        return self._going.get(identity)

    async def part(self, caller: Caller, uri: str, size: int = PART) -> Part:
        """The part of an artifact at this address, of at most `size` bytes. Raises `NotFound`."""
        try:
            return self.artifacts.read(caller, uri, size)
        except NotFound:
            address = Address.of(uri)
            artifact = await self._history.artifact(address.run, address.name)
            owner = artifact and await self._history.find(address.run)
            if not artifact or not owner or owner.caller.name != caller.name:
                raise
            return address.part(artifact, size)

    def refused(self, run: Run) -> Run:
        """Record a run that failed before it began."""
        self._history.record(run)
        return run

    async def close(self) -> None:
        """Let what goes on end within bounds, and be recorded. Nobody can answer questions any more."""
        for live in self._left():
            if live.question is not None:
                live.interrupt()
        await self._ends(self._settings.drain_timeout)
        for live in self._left():
            live.interrupt()
        await self._ends(LEAVE)

    def _left(self) -> list[Live]:
        return list(self._going.values())

    async def _ends(self, within: float) -> None:
        with anyio.move_on_after(within):
            for live in self._left():
                await live.end()

    def _made(self, entry: Serving, caller: Caller, inputs: Json, timeout: float | None) -> Run:
        wanted = timeout or entry.version.options.timeout or self._settings.call_timeout
        return Run(
            id=new_id(),
            pipeline=entry.name,
            version=entry.version.number,
            digest=entry.version.digest,
            inputs=inputs,
            caller=caller,
            timeout=min(wanted, self._settings.max_timeout),
        )

    def _begin(self, run: Run, work: Work, recording: Recording) -> Live:
        live = Live(run, work, self._seal, self._settings.answer_timeout, self.turned)
        live.recording = recording
        self._going[run.id] = live
        live.when_ended(self._ended)
        return live

    def _joined(self, known: Run) -> Live:
        """A run that was begun before: the one that goes on, or what is recorded or kept of it."""
        if live := self._going.get(known.id):
            return live
        live = Live(known, self.past.followed, unsealed, self._settings.answer_timeout, self.turned)
        live.lasting = not known.cached
        return live

    async def _seal(self, live: Live) -> None:
        """Record the end. It is durable before anyone hears of it if the id of the run is known."""
        run, live.run = live.run, self.artifacts.keep(live.run)
        if not live.shared:
            self._history.record(run, live.recording)
            return
        with suppress(Unavailable):  # a store that fails breaks no call; its status says so
            await self._history.commit(run, live.recording)

    def _ended(self, live: Live) -> None:
        del self._going[live.run.id]
        if live.run.verb in CALLS and live.run.status != "cancelled":
            self._catalog.count(live.run.pipeline, failed=live.run.status != "done")
        self.told(live.run)
        if live.shared:
            self._kept[live.run.id] = live
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self.turned(live.run.id)
