"""A host as the front sees it: loads, calls in flight, and how it ended."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from itertools import count

import orjson
from pydantic import TypeAdapter

from ...models import (
    Answers,
    Event,
    Manifest,
    Member,
    Problem,
    Run,
    Walls,
)
from .. import Outcome
from ..ongoing import Ongoing
from .frames import Bytes, Kind, pack_run, unpack_result
from .launcher import Launcher, Process
from .meter import watch
from .pending import HostDied, Pending
from .wire import Wire, connect, pair

STOP_TIME = 0.8
"""Seconds a run that is out of time may go on before its host counts as stuck."""
LEAVE_TIME = 5.0
"""The same for a run whose caller has gone: what is nearly done need not cost a host."""
EXIT_TIME = 10.0
"""Seconds a host gets to close its pipelines before it is killed."""

log = logging.getLogger(__name__)

SLACK = 1024 * 1024
"""Bytes that a frame may have beyond those of a result."""

EVENT: TypeAdapter[Event] = TypeAdapter(Event)

Stuck = Callable[["Host", str], None]
"""Told that work of the named pipeline goes on in that host though it was to stop."""


class Host:
    """One worker process. `ended` is called once with the host when its process is gone; `stuck` is told of
    work that goes on though it was to stop."""

    def __init__(self, launcher: Launcher, ended: Callable[[Host], None], stuck: Stuck) -> None:
        self._launcher = launcher
        self._ended = ended
        self._stuck = stuck
        self._wire = Wire(self._receive, self._lost, launcher.limits.result + SLACK)
        self._numbers = count(1)
        self._calls: dict[int, Pending] = {}
        self._loads: dict[int, asyncio.Future[Outcome]] = {}
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._process: Process | None = None
        self._status: int | None = None
        self._why: str | None = None
        self._meter: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._fewer = asyncio.Event()
        self._holds: set[str] = set()
        self._busy: frozenset[str] = frozenset()
        """Pipelines of a host that computed too long without a call."""
        self.victims: frozenset[str] = frozenset()
        """Pipelines that were at work when it died: in flight, loading, or computing for themselves."""
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

    async def start(self, walls: Walls | None) -> None:
        """Start the process behind these walls. Raises OSError."""
        ours, theirs = pair()
        await connect(ours, self._wire)
        self._process = await self._launcher.start(theirs, self._exited, walls)
        if walls is not None and walls.sandbox:
            self._meter = asyncio.create_task(self._metered(self._process.pid, walls.cpu))

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
                loaded = genuine(member, await outcome)
                self._holds |= {member.name} if isinstance(loaded, Manifest) else set()
                return loaded
        except TimeoutError:
            self.kill(f"it took longer than {within:g} s to load")
            return Problem(message=f"The pipeline took longer than {within:g} s to load.")
        finally:
            self._loads.pop(number, None)
            if self.alive:
                self.loading = None

    def begin(self, run: Run, ongoing: Ongoing, died: Callable[[HostDied], None]) -> Pending:
        """Begin a run of a loaded pipeline; `died` is told if the process ends under it."""
        pending = Pending(self, next(self._numbers), run.pipeline, ongoing, died)
        if self._gone.is_set():
            death = HostDied(self.reason, alone=False)
            asyncio.get_running_loop().call_soon(died, death)
        else:
            is_alone = not self._calls
            self._calls[pending.number] = pending
            self._wire.send(Kind.RUN, pending.number, *pack_run(run))
            if is_alone:
                self._wire.flush()
        return pending

    def stop(self, pending: Pending, *, late: bool) -> None:
        """Stop the work of a call; if it goes on all the same, `stuck` is told."""
        if pending.number in self._calls:
            pending.stopping = True
            self._fewer.set()
            self._wire.send(Kind.STOP, pending.number)
            grace = STOP_TIME if late else LEAVE_TIME
            asyncio.get_running_loop().call_later(grace, self._look, pending.number)

    def answer(self, pending: Pending, number: int, answers: Answers) -> None:
        """Answer the question of that number, of a call."""
        self._wire.send(Kind.ANSWER, pending.number, orjson.dumps([number, answers]))

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

    def _look(self, number: int) -> None:
        if (pending := self._calls.get(number)) and self.alive:
            self._stuck(self, pending.pipeline)

    def _receive(self, kind: Kind, number: int, payload: Bytes) -> None:
        try:
            self._take(kind, number, payload)
        except Exception:  # what the process says may come from a pipeline's own code
            self.kill("it said what makes no sense")

    def _take(self, kind: Kind, number: int, payload: Bytes) -> None:
        match kind:
            case Kind.ENDED:
                if pending := self._calls.pop(number, None):
                    if not self._fewer.is_set():
                        self._fewer.set()
                    pending.ongoing.put(unpack_result(payload))
            case Kind.EVENT:
                if pending := self._calls.get(number):
                    pending.ongoing.put(EVENT.validate_json(payload))
            case Kind.LOADED:
                self._settle(number, Manifest.model_validate_json(payload))
            case Kind.BROKEN:
                self._settle(number, Problem.model_validate_json(payload))
            case Kind.PONG:
                if (answered := self._pings.get(number)) and not answered.done():
                    answered.set_result(None)
            case _:
                raise ValueError(kind)

    async def _metered(self, pid: int, limit: float) -> None:
        if not await watch(pid, limit, self._calls.values):
            return
        self._busy = frozenset() if self._calls else frozenset(self._holds)
        self.kill(f"it computed for more than {limit:g} s, see --cpu-limit")

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
        if self._meter is not None:
            self._meter.cancel()
        active = {each.pipeline for each in self._calls.values()}
        self.victims = frozenset(active | ({self.loading} if self.loading else set())) | self._busy
        died = HostDied(self.reason, alone=len(self._calls) + len(self._loads) <= 1)
        for future in (*self._loads.values(), *self._pings.values()):
            if not future.done():
                future.set_exception(died)
        lost, self._calls = self._calls, {}
        for pending in lost.values():
            pending.ongoing.hush()
            pending.died(died)
        self._fewer.set()
        self._ended(self)


def genuine(member: Member, outcome: Outcome) -> Outcome:
    """The outcome, if it is this pipeline's: its code could name another tool."""
    if isinstance(outcome, Manifest) and outcome.tool.get("name") != member.name:
        return Problem(message="The pipeline said that it was another one.")
    return outcome


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
