"""The inside of a host: a process that loads pipelines and runs them for the front.

It ends when the front tells it to, when the front's end of the socket closes, or when a pipeline ends it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import orjson

from ...models import Limits, Member, Problem, Result, Run
from ...pipelines import Pipeline, haystack
from ...pipelines.context import current
from ...telemetry import lines
from ...telemetry.spans import traced
from ..calls import Call
from ..local import Workbench
from ..ongoing import Home
from .frames import Bytes, Kind, pack_result, unpack_run
from .telling import Telling
from .wire import Wire, connect

log = logging.getLogger(__name__)


def serve(end: socket.socket, limits: Limits) -> None:
    """Work for the front until it lets go; then end the process, hanging threads and all."""
    try:
        lines.configure(limits.log_level, limits.log_format, of_run)
        haystack.install()
        runner = asyncio.Runner(loop_factory=fast_loop())
        runner.run(Worker(end, limits).work())  # and never closed: that would join the threads
    except BaseException:  # nothing may run on past this point: a fork has its parent's code below
        log.exception("a host ended")
        os._exit(70)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def of_run() -> Mapping[str, str]:
    """What the lines of a host say besides: which run they belong to."""
    here = current.get(None)
    return {"run_id": here.run} if here else {}


def fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


class Worker:
    """Answers frames. Loads come one at a time, calls run side by side."""

    def __init__(self, end: socket.socket, limits: Limits) -> None:
        self._end = end
        self._endpoint = limits.otlp_endpoint
        self._bench = Workbench(limits)
        self._wire = Wire(self._receive, self._lost)
        self._pipelines: dict[str, Pipeline] = {}
        self._calls: dict[int, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def work(self) -> None:
        """Serve until the front says END or is gone."""
        self._home = Home()
        self._home.loop.set_default_executor(self._bench.pool)  # for `asyncio.to_thread`
        tracing = traced(self._endpoint) if self._endpoint else None
        if tracing is not None:
            haystack.trace()
        await connect(self._end, self._wire)
        await self._over.wait()
        for name in list(self._pipelines):
            await self._close(name)
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
        self._wire.close()  # and with it the process ends

    def _receive(self, kind: Kind, number: int, payload: Bytes) -> None:
        match kind:
            case Kind.RUN:
                self._run(number, unpack_run(payload))
            case Kind.STOP:
                if call := self._calls.get(number):
                    call.stop()
            case Kind.ANSWER:
                if call := self._calls.get(number):
                    call.answer(*orjson.loads(payload))
            case Kind.LOAD:
                self._later(self._load(number, Member.model_validate_json(payload)))
            case Kind.PING:
                self._wire.send(Kind.PONG, number)
            case Kind.CLOSE:
                self._later(self._close(payload.decode()))
            case _:
                self._over.set()

    def _lost(self) -> None:
        os._exit(0)  # the front is gone: nobody is left to answer

    async def _load(self, number: int, member: Member) -> None:
        loaded = await self._bench.load(member)
        if isinstance(loaded, Problem):
            self._wire.send(Kind.BROKEN, number, loaded.model_dump_json().encode())
        else:
            self._pipelines[member.name] = loaded
            self._wire.send(Kind.LOADED, number, loaded.manifest.model_dump_json().encode())

    def _run(self, number: int, run: Run) -> None:
        telling = Telling(self._wire, number, self._home).emit
        ended = partial(self._ended, number)
        self._calls[number] = self._bench.start(self._pipelines[run.pipeline], run, telling, ended)

    def _ended(self, number: int, result: Result) -> None:
        del self._calls[number]
        self._wire.send(Kind.ENDED, number, *pack_result(result))
        if not self._calls:
            self._wire.flush()

    async def _close(self, name: str) -> None:
        if pipeline := self._pipelines.pop(name, None):
            await self._bench.close(pipeline)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
