"""One run in this process: started, watched, stopped. Every engine ends here.

Stopping is cooperative first: the context says so between components and chunks. A task is cancelled;
a thread gets `Stopped` raised inside it. Neither reaches code that hangs in C, a socket or a lock: only
the end of the process does (facts measured on CPython 3.11 to 3.13).
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from itertools import count

from ..content import failure, render
from ..content.fitting import fitted
from ..errors import Invalid
from ..models import Answers, Event, Fault, Json, Limits, Question, Result, Run
from ..pipelines import Pipeline, Work
from ..pipelines.context import Context, ProtocolError, Stopped, current
from ..pipelines.haystack import reason
from ..pipelines.inquiries import Inquiry
from ..pipelines.recording import Tape, playing, record
from ..telemetry.spans import Mark, Spans
from .confinement.hints import hinted
from .threads import Threads

GRACE = 0.2
"""Seconds between asking a thread to stop and raising in it."""

TRACED = 6
"""Calls that the log names of a failure; a whole traceback costs more than the run did."""
PLACES = 1000
"""Characters of their places."""

UNPROMISED = (
    "The pipeline gave content without the structured value its output schema promises: "
    "its author must annotate what it returns."
)
"""What a caller reads instead of a result that its client would refuse (MCP 2025-11-25, tools)."""

log = logging.getLogger(__name__)


class Call:
    """A run of a loaded pipeline. Made on the event loop that runs it."""

    _thread: Thread | None = None
    """Set if a thread is used, which cannot be cancelled as a task can."""
    _task: asyncio.Task[None] | None = None
    _began = False

    def __init__(
        self,
        pipeline: Pipeline,
        run: Run,
        emit: Callable[[Event], None],
        tell: Callable[[Result], object],
        loop: asyncio.AbstractEventLoop,
        threads: Threads,
        limits: Limits,
        spans: Spans | None = None,
    ) -> None:
        """`tell` is called on the loop with the result, after every event; never an exception."""
        self._run = run
        self._emit = emit
        self._limits = limits
        self._spans = spans
        self._schema = pipeline.manifest.tool.get("outputSchema")
        self._loop = loop
        self._context = Context(run.id, run.caller, emit, run.client, self._ask)
        self._questions: dict[int, tuple[Future[Answers], Inquiry | None]] = {}
        self._numbers = count(1)
        """Of questions, which threads may ask at the same time."""
        self._tell = tell
        here = copy_context()
        work = here.run(self._prepared, pipeline)
        if isinstance(work, Result):
            self._loop.call_soon(self._end, work)
        elif work.blocking:
            self._thread = thread = Thread()
            threads.submit(lambda: here.run(self._block, work, thread))
        else:
            coroutine = self._work(work) if spans is None else self._traced(work, spans)
            self._task = self._loop.create_task(coroutine, context=here)

    def answer(self, number: int, answers: Answers) -> None:
        """Give the answers to the question of that number."""
        if waiting := self._questions.pop(number, None):
            question, inquiry = waiting
            if inquiry is not None:
                inquiry.answered(answers)
            resolve(question, answers)

    def stop(self, *, late: bool = False) -> None:
        """Ask the work to stop; returns at once. The result is then an error, whenever it comes."""
        self._context.stop()
        for question, _ in list(self._questions.values()):
            question.cancel()
        if self._thread is not None:
            self._loop.call_later(GRACE, self._thread.interrupt)
        elif self._task is not None and self._began:  # before that, it finds out when it begins
            self._task.cancel()

    def _prepared(self, pipeline: Pipeline) -> Work | Result:
        """What is to be done, in the context that it is done in; or why it cannot be."""
        current.set(self._context)
        try:
            if self._run.replay is not None:
                record(Tape(self._run.replay, self._emit))
            return pipeline.prepare(self._run)
        except BaseException as error:  # foreign code: may raise anything, SystemExit included
            return self._failed(error)

    async def _traced(self, work: Work, spans: Spans) -> None:
        with spans(self._run) as mark:
            await self._work(work, mark)

    async def _work(self, work: Work, mark: Mark | None = None) -> None:
        self._began = True
        try:
            self._context.check()
            result = self._done(await work.call(self._context))
        except BaseException as error:  # foreign code: may raise anything, SystemExit included
            result = self._failed(error)
        if mark is not None:
            mark(result)
        self._end(result)

    def _block(self, work: Work, thread: Thread) -> None:
        if self._spans is None:
            result = self._blocked(work, thread)
        else:
            with self._spans(self._run) as mark:
                result = self._blocked(work, thread)
                mark(result)
        with suppress(RuntimeError):  # the loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._end, result)

    def _blocked(self, work: Work, thread: Thread) -> Result:
        try:
            with thread:
                self._context.check()
                return self._done(work.call(self._context))
        except BaseException as error:  # foreign code: may raise anything, SystemExit included
            return self._failed(error)

    def _end(self, result: Result) -> None:
        try:
            self._context.close()
        finally:
            self._tell(result)

    def _ask(self, requests: Mapping[str, Json], *, parks: bool = False) -> Future[Answers]:
        """See `Put`. What a replayed run was told before, it is told at once."""
        future: Future[Answers] = Future()
        number = next(self._numbers)
        inquiry = Inquiry(requests) if playing() else None
        if inquiry is not None and inquiry.answers is not None:
            future.set_result(inquiry.answers)
            return future
        self._questions[number] = future, inquiry
        if self._context.cancelled:  # stopped since it was checked: `stop` may have missed this one
            future.cancel()
        mark = inquiry.mark if parks and inquiry and inquiry.can_stop else None
        self._emit(Question(number=number, requests=requests, mark=mark))
        return future

    def _done(self, value: object) -> Result:
        """The value as it can be sent. What MCP wants of the results of tools goes for calls only."""
        result, limits, left = render(value), self._limits, self._context.artifacts
        size = len(result.content) + len(result.structured or b"")
        size += sum(len(each.content) for each in left.values()) if left else 0
        if size > limits.result:
            allowed = f"{limits.result:,}"
            return failure(f"The result has {size:,} bytes, more than the {allowed} allowed. Ask for less.")
        if self._run.verb != "call":
            return result
        if self._schema and result.structured is None and not result.is_error:
            return failure(UNPROMISED)
        if not left and size <= limits.text and size <= limits.inline:  # nearly all
            return result
        left = tuple(left.values())
        return fitted(result, self._run.id, limits.text, self._schema, left, limits.inline)

    def _failed(self, error: BaseException) -> Result:
        if self._context.cancelled and isinstance(error, Stopped | asyncio.CancelledError):
            return failure("The run was stopped.")
        if isinstance(error, ProtocolError):
            fault = Fault(code=error.code, message=error.message, data=error.data)
            return failure(error.message).model_copy(update={"fault": fault})
        if isinstance(error, Invalid):
            return failure(explain(error)).model_copy(update={"refused": True})
        log.warning("run %s of %s failed: %s", self._run.id, self._run.pipeline, traced(error))
        return failure(hinted(explain(error), error, self._limits.walls))


def resolve(future: Future[Answers], answers: Answers) -> None:
    """Settle a question, unless the run was stopped meanwhile."""
    if future.set_running_or_notify_cancel():
        future.set_result(answers)


class Thread:
    """The thread that works for a call, while it does; lets another thread raise `Stopped` in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ident: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._ident = threading.get_ident()

    def __exit__(self, *error: object) -> None:
        with self._lock:
            raise_in(self._ident, None)  # one that was set and not yet raised must not hit the next call
            self._ident = None

    def interrupt(self) -> None:
        """Raise `Stopped` in the thread if it is still at work."""
        with self._lock:
            raise_in(self._ident, Stopped)


def raise_in(ident: int | None, kind: type[BaseException] | None) -> None:
    """Make CPython raise `kind` in the thread at its next bytecode; None takes a pending one back."""
    if ident is not None:
        exception = ctypes.py_object(kind) if kind else None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), exception)


def traced(error: BaseException) -> str:
    """One line for the log: what went wrong, and the last calls that led there, innermost last."""
    frames = traceback.extract_tb(innermost(error).__traceback__, limit=-TRACED)
    places = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{explain(error)} (at {places[-PLACES:]})"


def innermost(error: BaseException) -> BaseException:
    """What caused the error, as far down as Haystack and others wrap it."""
    for _ in range(TRACED):
        error = error.__cause__ or error
    return error


def explain(error: BaseException) -> str:
    """One line for the caller: what went wrong, without traceback or paths."""
    match error:
        case Invalid():
            return str(error)
        case SystemExit():
            return f"The pipeline tried to end the process (exit code {error.code})."
        case KeyboardInterrupt() | GeneratorExit() | asyncio.CancelledError() | Stopped():
            return f"The pipeline raised {type(error).__name__}."
        case MemoryError():
            return "The pipeline ran out of memory."
        case _:
            return reason(error)
