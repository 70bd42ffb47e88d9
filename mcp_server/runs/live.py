"""A run that goes on in this process: its events, its questions, its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

import anyio

from ..engines.ongoing import Ongoing, Tell
from ..errors import Conflict, ServerError
from ..models import Answers, Emit, Event, Json, Notice, Progress, Question, Recording, Result, Run, RunStatus
from ..store.tree import Watch
from .ending import Parked, outcome
from .recorder import Recorder, Work
from .trail import Trail

Seal = Callable[["Live", Run], Run | Awaitable[Run]]
"""Writes down how a run has ended, if it has to be before anybody hears of it; gives what is remembered."""
Begin = Callable[[Run, Emit, Tell], Ongoing | None]
"""Begins the work at once if it can; `Runner.begin` is one."""


class Live:
    """A run that goes on by itself. Whoever listens hears its events; a question waits for an answer.

    What few runs need is set when they do.
    """

    question: Question | None = None
    progress: Progress | None = None
    """How far it is, as it said last."""
    asking = False
    """True while its listener asks."""
    asked = False
    """True once it has asked something."""
    shared = False
    """True once its id was given away, so that it must be found after its end."""
    lasting = False
    """True if it goes on without whoever began it."""
    recording: Recording = "full"
    recorder: Recorder | None = None
    """Set if its components are recorded."""
    unrecorded: Run | None = None
    """How it ended, with all it left, if that is to be recorded soon."""
    ending = False
    """True once the work is done, also while its end is being written down."""
    _answers: asyncio.Future[Answers] | None = None
    _given: Answers = MappingProxyType({})
    _trail: Trail | None = None
    _news: asyncio.Event | None = None
    """While somebody waits for what comes next."""
    _task: asyncio.Task[None] | None = None
    _began = _is_over = _is_stopped = _interrupted = False

    def __init__(
        self,
        run: Run,
        work: Work,
        seal: Seal,
        patience: float,
        turned: Watch,
        begin: Begin | None = None,
        ended: Callable[[Live], None] | None = None,
    ) -> None:
        """`patience` is how many seconds a question waits; `turned` hears when that begins and ends.

        With `begin` the work needs no task if it can begin at once. `ended` hears of the end before all
        others.
        """
        self.run = run
        self.listener: Emit = ignore
        self.noticed: Emit = ignore
        """Hears what it says has changed for all clients; its listener does not."""
        self.changed = run.started
        """When it last began or ceased to wait for an answer, in seconds since the epoch."""
        self._patience = patience
        self._turned = turned
        self._told: list[Callable[[Live], None]] = []
        self._ended = ended
        self._seal = seal
        self._ongoing = begin(run, self._hear, self._tell) if begin else None
        if self._ongoing is None:
            self._task = asyncio.create_task(self._go(work))

    @property
    def trail(self) -> Trail:
        """What it said, for who follows it."""
        if self._trail is None:
            self._trail = Trail()
            if self._is_over:
                self._trail.end()
        return self._trail

    @property
    def said(self) -> int:
        """Characters of what it said that are kept."""
        return self._trail.size if self._trail else 0

    async def next(self) -> Question | None:
        """Wait for a question that its listener does not answer, or for the end: None, and `run` has ended.

        Cancelling this wait stops nothing.
        """
        while not self._is_over:
            if self.question is not None and not self.run.parked:
                return self.question
            self._news = self._news or asyncio.Event()
            self._news.clear()
            await self._news.wait()
        return self.question

    async def patiently(self, within: float | None) -> Question | None:
        """The same for `within` seconds, and as long again while its listener asks; then None.

        For 0 seconds nobody waits, however soon it ends.
        """
        if within == 0 and not self.ending and self.question is None:
            return None
        while True:
            with anyio.move_on_after(within):
                return await self.next()
            if self.ending:  # its end is being recorded
                await self.end()
            if not self.asking:
                return None

    def answer(self, answers: Answers) -> None:
        """Answer the open question. Raises `Conflict` if there is none."""
        if self._answers is None or self._answers.done() or self.run.parked:
            raise Conflict(f"Run {self.run.id} is not waiting for an answer.")
        self.question = None
        self.run = self.run.model_copy(update={"question": None})
        self._answers.set_result(answers)

    @property
    def unanswered(self) -> Mapping[str, Json]:
        """The requests of the open question that have no answer yet, by their keys; none without one."""
        if self.question is None:
            return {}
        return {key: wanted for key, wanted in self.question.requests.items() if key not in self._given}

    def add(self, number: int, answers: Answers) -> None:
        """Answer a part of the question `number`; with the last part it is answered. Others are ignored."""
        if self.question is None or self.question.number != number:
            return
        asked = self.unanswered
        self._given = {**self._given, **{key: answers[key] for key in answers if key in asked}}
        if not self.unanswered:
            self.answer(self._given)
        elif self.unanswered.keys() != asked.keys():
            self._turn("waiting")

    def wait_as_row(self, question: Question) -> None:
        """It needs no host from now on; its work ends, and it does not."""
        self.question = question
        self.run = self.run.model_copy(update={"status": "waiting", "question": question, "parked": True})
        self.changed = time.time()

    def when_ended(self, tell: Callable[[Live], None]) -> None:
        """Have `tell` called with this run once it has ended, soon if it has."""
        if self._is_over:
            asyncio.get_running_loop().call_soon(tell, self)
        else:
            self._told.append(tell)

    async def end(self) -> None:
        """Wait for the end. Cancelling this wait stops nothing."""
        if not self._is_over:
            over = asyncio.get_running_loop().create_future()
            self._told.append(lambda _: None if over.done() else over.set_result(None))
            await over

    def cancel(self) -> None:
        """Stop the work; nothing happens if it has ended. Nobody hears of it any more."""
        self.listener = ignore
        self._is_stopped = True
        if self._ongoing is not None:
            self._ongoing.stop()
            self._finish(self._outcome(asyncio.CancelledError()))
        elif self._task is not None and self._began and not self.ending:  # before, its work never begins
            self._task.cancel()

    def interrupt(self) -> None:
        """Stop the work because the server ends: the run has failed, and says so."""
        self._interrupted = True
        self.cancel()

    def _over(self) -> None:
        self._is_over = True
        try:
            if self._ended is not None:
                self._ended(self)
        finally:
            if self._news is not None:
                self._news.set()
            if self._trail is not None:
                self._trail.end()
            for tell in self._told:
                tell(self)
            self._told.clear()

    def _tell(self, told: Result | BaseException) -> None:
        """The work has ended."""
        self._finish(self._outcome(told))

    def _outcome(self, told: Result | BaseException) -> Run | None:
        asks = self.question is not None
        ended = outcome(self.run, told, interrupted=self._interrupted, asks=asks)
        if ended is not None:
            self.question, self.listener, self.ending = None, ignore, True
        return ended

    def _finish(self, ended: Run | None) -> None:
        self._ongoing = None
        sealed = self._seal(self, ended) if ended is not None else self.run
        if isinstance(sealed, Run):
            self.run = sealed
            self._over()
        else:
            self._task = asyncio.create_task(self._sealed(sealed, ended))

    async def _sealed(self, sealed: Awaitable[Run], ended: Run | None) -> None:
        try:
            self.run = await sealed
        except BaseException:
            self.run = ended or self.run
            raise
        finally:
            self._over()

    async def _go(self, work: Work) -> None:
        self._began = True
        ended = None
        try:
            ended = await self._worked(work)
            if ended is not None:
                sealed = self._seal(self, ended)
                ended = sealed if isinstance(sealed, Run) else await sealed
        finally:
            self.run = ended or self.run
            self._over()

    async def _worked(self, work: Work) -> Run | None:
        """The run as its work has ended it; None if it goes on elsewhere."""
        try:
            if self._is_stopped:
                raise asyncio.CancelledError
            result = await work(self.run, self._hear)
        except (Parked, asyncio.CancelledError, ServerError) as error:
            return self._outcome(error)
        return self._outcome(result)

    async def _hear(self, event: Event) -> Answers | None:
        if isinstance(event, Progress):
            self.progress = event
        self.trail.add(event)
        if isinstance(event, Notice) and event.what != "stream":
            return await self.noticed(event)
        self.asking = isinstance(event, Question)
        self.asked |= self.asking
        try:
            answers = await self.listener(event)
        finally:
            self.asking = False
        if answers is not None or not isinstance(event, Question):
            return answers
        if self.recorder is not None and await self.recorder.park(self.run, event):
            self.wait_as_row(event)
            raise Parked
        self._answers = asyncio.get_running_loop().create_future()
        self.question, self._given = event, {}
        self._turn("waiting")
        if self._news is not None:
            self._news.set()
        try:
            async with asyncio.timeout(self._patience):
                return await self._answers
        except TimeoutError:
            return {}
        finally:
            self.question = None
            self._turn("running")

    def _turn(self, status: RunStatus) -> None:
        question = self.question and Question(number=self.question.number, requests=self.unanswered)
        self.run = self.run.model_copy(update={"status": status, "question": question})
        self.changed = time.time()
        self._turned(self.run.id)


async def ignore(event: Event) -> None:
    """A listener that does not listen."""


async def unsealed(live: Live, ended: Run) -> Run:
    """A seal for what is written down already."""
    return ended
