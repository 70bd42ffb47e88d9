"""The life of a run: found, checked, run, asked, answered, ended. The one way to run a pipeline."""

from __future__ import annotations

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Callable

from .catalog import Catalog
from .engines import Engine
from .errors import Conflict, NotFound
from .models import Answers, Caller, Client, Emit, Event, Json, Question, Result, Run, Verb
from .settings import Settings

KEPT = 1000
"""Ended runs that are remembered because somebody was given their id."""


class Live:
    """A run that goes on by itself. Whoever listens hears its events; a question waits for an answer."""

    def __init__(self, run: Run, engine: Engine, patience: float) -> None:
        self.run = run
        self.question: Question | None = None
        self.listener: Emit = ignore
        self.shared = False
        """True once its id was given away, so that it must be found after its end."""
        self._patience = patience
        self._answers: asyncio.Future[Answers] | None = None
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._go(engine))
        self._task.add_done_callback(lambda _: self._news.set())

    async def next(self) -> Question | None:
        """Wait for a question that its listener does not answer, or for the end: None, and `run` has ended.

        Raises what the engine refused the run with. Cancelling this wait stops nothing.
        """
        while not self._task.done():
            if self.question is not None:
                return self.question
            self._news.clear()
            await self._news.wait()
        self._task.result()
        return None

    def answer(self, answers: Answers) -> None:
        """Answer the open question. Raises `Conflict` if there is none."""
        if self._answers is None or self._answers.done():
            raise Conflict(f"Run {self.run.id} is not waiting for an answer.")
        self.question = None
        self._answers.set_result(answers)

    def when_ended(self, tell: Callable[[Live], None]) -> None:
        """Have `tell` called with this run once it has ended."""
        self._task.add_done_callback(lambda _: tell(self))

    async def end(self) -> None:
        """Wait for the end. Cancelling this wait stops nothing."""
        await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Stop the work; nothing happens if it has ended."""
        self._task.cancel()

    async def _go(self, engine: Engine) -> None:
        try:
            result = await engine.run(self.run, self._hear)
        except asyncio.CancelledError:
            self._end("cancelled", None)
        else:
            self._end("failed" if result.is_error else "done", result)

    def _end(self, status: str, result: Result | None) -> None:
        self.question, self.listener = None, ignore
        self.run = self.run.model_copy(update={"status": status, "result": result, "finished": time.time()})

    async def _hear(self, event: Event) -> Answers | None:
        answers = await self.listener(event)
        if answers is not None or not isinstance(event, Question):
            return answers
        self._answers = asyncio.get_running_loop().create_future()
        self.question = event
        self.run = self.run.model_copy(update={"status": "waiting"})
        self._news.set()
        try:
            async with asyncio.timeout(self._patience):
                return await self._answers
        except TimeoutError:
            return {}
        finally:
            self.question = None
            self.run = self.run.model_copy(update={"status": "running"})


class Runs:
    """Calls pipelines, and keeps the runs that others may ask about."""

    def __init__(self, catalog: Catalog, engine: Engine, settings: Settings) -> None:
        self._catalog = catalog
        self._engine = engine
        self._settings = settings
        self._going: dict[str, Live] = {}
        self._kept: OrderedDict[str, Live] = OrderedDict()

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
    ) -> Live:
        """Begin a run of the pipeline `name`. `timeout` is in seconds and bounded by the settings.

        Raises `NotFound` for an unknown pipeline, `Invalid` for arguments that do not fit its schema,
        `Unavailable` for one that does not serve.
        """
        entry = await self._catalog.find(name)
        if verb == "call":
            entry.check(inputs)
        wanted = timeout or entry.version.options.timeout or self._settings.call_timeout
        run = Run(
            id=new_id(),
            pipeline=name,
            version=entry.version.number,
            digest=entry.version.digest,
            inputs=inputs,
            verb=verb,
            caller=caller,
            client=client or Client(),
            timeout=min(wanted, self._settings.max_timeout),
        )
        live = Live(run, self._engine, self._settings.answer_timeout)
        live.listener = listener or ignore
        self._going[run.id] = live
        live.when_ended(self._ended)
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

    async def attend(self, live: Live) -> Question | None:
        """Wait as `Live.next`, and stop the run if the one who waits is cancelled."""
        try:
            question = await live.next()
        except asyncio.CancelledError:
            live.cancel()
            raise
        if question is not None:
            live.shared = True
            live.listener = ignore
        return question

    def find(self, caller: Caller, identity: str) -> Live:
        """The run of that id. Raises `NotFound` if there is none, or if it is another caller's."""
        live = self._going.get(identity) or self._kept.get(identity)
        if live is None or live.run.caller.name != caller.name:
            raise NotFound(f"There is no run {identity}.")
        return live

    def _ended(self, live: Live) -> None:
        del self._going[live.run.id]
        if live.run.verb == "call" and live.run.status != "cancelled":
            self._catalog.count(live.run.pipeline, failed=live.run.status != "done")
        if live.shared:
            self._kept[live.run.id] = live
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def new_id() -> str:
    """A run id: 48 bits of milliseconds, then 80 random bits, in hex; sorts by time, cannot be guessed."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


async def ignore(event: Event) -> None:
    """A listener that does not listen."""
