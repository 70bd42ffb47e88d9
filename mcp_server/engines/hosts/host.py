"""A host as the front sees it: loads, calls in flight, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count

import orjson
from pydantic import TypeAdapter

from ...models import Answers, Chunk, Emit, Event, Manifest, Member, Problem, Question, Result, Run
from .. import Outcome
from .frames import Kind, Wire, connect, pair, unpack_result
from .launcher import Launcher, Process

STOP_TIME = 0.8
"""Seconds a run that is out of time may go on before its host counts as stuck."""
LEAVE_TIME = 5.0
"""The same for a run whose caller has gone: what is nearly done need not cost a host."""
EXIT_TIME = 10.0
"""Seconds a host gets to close its pipelines before it is killed."""

log = logging.getLogger(__name__)

MANY = 100
"""Waiting events of one call from which on chunks are joined: a slow client costs text, not objects."""

EVENT: TypeAdapter[Event] = TypeAdapter(Event)

Stuck = Callable[["Host", str], None]
"""Told that work of the named pipeline goes on in that host though it was to stop."""


class HostDied(Exception):
    """The process ended under a call or a load. `alone` if nothing else was going on in it."""

    def __init__(self, reason: str, alone: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.alone = alone


News = Event | Result | HostDied


class Pending:
    """A call in flight: which pipeline, and what has come back and was not yet taken."""

    def __init__(self, pipeline: str) -> None:
        self.pipeline = pipeline
        self.stopping = False
        self._news: deque[News] = deque()
        self._more = asyncio.Event()

    def put(self, item: News) -> None:
        """Add an item; behind many, text is joined to text."""
        last = self._news[-1] if len(self._news) > MANY else None
        if isinstance(item, Chunk) and isinstance(last, Chunk) and last.source == item.source:
            self._news[-1] = last.model_copy(update={"text": last.text + item.text})
        else:
            self._news.append(item)
        self._more.set()

    async def next(self) -> News:
        """The oldest item, once there is one."""
        while not self._news:
            self._more.clear()
            await self._more.wait()
        return self._news.popleft()


class Host:
    """One worker process. `ended` is called once with the host when its process is gone."""

    def __init__(self, launcher: Launcher, ended: Callable[[Host], None]) -> None:
        self._launcher = launcher
        self._ended = ended
        self._wire = Wire(self._receive, self._lost)
        self._numbers = count(1)
        self._calls: dict[int, Pending] = {}
        self._loads: dict[int, asyncio.Future[Outcome]] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._process: Process | None = None
        self._status: int | None = None
        self._why: str | None = None
        self._gone = asyncio.Event()
        self._fewer = asyncio.Event()
        self.victims: frozenset[str] = frozenset()
        """Pipelines that were in flight or loading when it died."""
        self.loading: str | None = None
        self.retired = False
        """True once new calls go elsewhere."""

    @property
    def pid(self) -> int | None:
        """The process's number, once it has started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Started, and not known to have ended."""
        return self._process is not None and not self._gone.is_set()

    @property
    def reason(self) -> str:
        """How it ended, in words."""
        return self._why or describe(self._status)

    async def start(self) -> None:
        """Start the process. Raises OSError."""
        ours, theirs = pair()
        await connect(ours, self._wire)
        self._process = await self._launcher.start(theirs, self._exited)

    async def load(self, member: Member, within: float) -> Outcome:
        """Load one pipeline. Raises `HostDied`; a load that takes longer than `within` s kills the host."""
        number = next(self._numbers)
        self.loading = member.name
        outcome = self._loads[number] = asyncio.get_running_loop().create_future()
        self._wire.send(Kind.LOAD, number, member.model_dump_json().encode())
        if self._gone.is_set():
            raise HostDied(self.reason, alone=True)
        try:
            async with asyncio.timeout(within):
                return await outcome
        except TimeoutError:
            self.kill(f"it took longer than {within:g} s to load")
            return Problem(message=f"The pipeline took longer than {within:g} s to load.")
        finally:
            self._loads.pop(number, None)
            if self.alive:
                self.loading = None

    async def run(self, run: Run, emit: Emit, clock: asyncio.Timeout, stuck: Stuck) -> Result:
        """Run a loaded pipeline to the end. Raises `HostDied`.

        Cancelling stops the work; if it goes on all the same, `stuck` is told.
        """
        if self._gone.is_set():
            raise HostDied(self.reason, alone=False)
        number = next(self._numbers)
        pending = self._calls[number] = Pending(run.pipeline)
        self._wire.send(Kind.RUN, number, run.model_dump_json().encode())
        try:
            while not isinstance(item := await pending.next(), Result | HostDied):
                if isinstance(item, Question):
                    answers = await self._unless_gone(emit(item))
                    self._wire.send(Kind.ANSWER, number, orjson.dumps([item.number, answers or {}]))
                else:
                    await emit(item)
        except BaseException:  # out of time or cancelled: the work must not go on
            late = clock.expired()
            self._stop(number, STOP_TIME if late else LEAVE_TIME, stuck)
            raise
        if isinstance(item, HostDied):
            raise item
        return item

    async def _unless_gone(self, asking: Awaitable[Answers | None]) -> Answers | None:
        """What was answered; None at once if the process ends: nobody waits for the answer any more."""
        answered, gone = asyncio.ensure_future(asking), asyncio.create_task(self._gone.wait())
        try:
            await asyncio.wait([answered, gone], return_when=asyncio.FIRST_COMPLETED)
            return answered.result() if answered.done() else None
        finally:
            answered.cancel()
            gone.cancel()
            await asyncio.wait([answered, gone])

    async def answers(self) -> None:
        """Wait for its event loop to send a frame back. Raises `HostDied`."""
        if self._gone.is_set():
            raise HostDied(self.reason, alone=False)
        number = next(self._numbers)
        answered = self._pings[number] = asyncio.get_running_loop().create_future()
        self._wire.send(Kind.PING, number)
        try:
            await answered
        finally:
            self._pings.pop(number, None)

    async def idle(self) -> None:
        """Wait until no call is in flight but those told to stop."""
        while any(not each.stopping for each in self._calls.values()):
            self._fewer.clear()
            await self._fewer.wait()

    def close(self, name: str) -> None:
        """Close one pipeline; the caller knows that none of its calls is in flight."""
        self._wire.send(Kind.CLOSE, 0, name.encode())

    async def end(self) -> None:
        """Let it close its pipelines and exit; kill it if that takes too long."""
        self._wire.send(Kind.END, 0)
        try:
            async with asyncio.timeout(EXIT_TIME):
                await self._gone.wait()
        except TimeoutError:
            self.kill("it did not exit when told to")

    def kill(self, why: str) -> None:
        """End the process at once; `reason` then says why."""
        self._why = self._why or why
        if self._process is not None:
            self._process.kill()

    def _stop(self, number: int, grace: float, stuck: Stuck) -> None:
        if pending := self._calls.get(number):
            pending.stopping = True
            self._fewer.set()
            self._wire.send(Kind.STOP, number)
            asyncio.get_running_loop().call_later(grace, self._look, number, stuck)

    def _look(self, number: int, stuck: Stuck) -> None:
        if (pending := self._calls.get(number)) and self.alive:
            stuck(self, pending.pipeline)

    def _receive(self, kind: Kind, number: int, payload: bytes) -> None:
        match kind:
            case Kind.ENDED:
                if pending := self._calls.pop(number, None):
                    self._fewer.set()
                    pending.put(unpack_result(payload))
            case Kind.EVENT:
                if pending := self._calls.get(number):
                    pending.put(EVENT.validate_json(payload))
            case Kind.LOADED:
                self._settle(number, Manifest.model_validate_json(payload))
            case Kind.BROKEN:
                self._settle(number, Problem.model_validate_json(payload))
            case Kind.PONG:
                if (answered := self._pings.get(number)) and not answered.done():
                    answered.set_result(None)
            case _:
                log.error("a host sent a frame that is not for the front: %s", kind.name)

    def _settle(self, number: int, outcome: Outcome) -> None:
        if (future := self._loads.get(number)) and not future.done():
            future.set_result(outcome)

    def _exited(self, status: int) -> None:
        self._status = status
        self._finish()

    def _lost(self) -> None:
        """The socket closed: the process ended, or a pipeline closed it. The status follows shortly."""
        if self._process is not None:
            self._process.kill()
        asyncio.get_running_loop().call_later(1, self._finish)

    def _finish(self) -> None:
        if self._gone.is_set():
            return
        self._gone.set()
        self._wire.close()
        active = {each.pipeline for each in self._calls.values()}
        self.victims = frozenset(active | ({self.loading} if self.loading else set()))
        died = HostDied(self.reason, alone=len(self._calls) + len(self._loads) <= 1)
        for pending in self._calls.values():
            pending.put(died)
        for future in (*self._loads.values(), *self._pings.values()):
            if not future.done():
                future.set_exception(died)
        self._calls.clear()
        self._fewer.set()
        self._ended(self)


def describe(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "it was lost"
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
