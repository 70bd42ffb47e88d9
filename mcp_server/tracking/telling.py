"""Runs and versions, written to the MLflow server in the background. A call never waits for it.

A run becomes a run of one experiment: its inputs are parameters, its seconds and tokens metrics, its result
an artifact. A version becomes a version of the registered model of its pipeline's name. What cannot be
written is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast
from urllib.parse import quote

import orjson

from ..catalog import Snapshot
from ..errors import Unavailable
from ..models import CALLS, Json, Recording, Run, Version
from .upstream import Upstream

QUEUE = 1000
"""What may wait to be written."""
LEAVE = 5.0
"""Seconds that what waits gets when the server stops."""
LONGEST = 500
"""Characters of a parameter's or a tag's value."""
API = "/api/2.0/mlflow"
JSON_HEADERS = ((b"content-type", b"application/json"),)
STATUS = {"done": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}

log = logging.getLogger(__name__)


class Refused(Exception):
    """The MLflow server answered with an error; carries its HTTP status."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"status {status} {code}".strip())
        self.status = status


class Telling:
    """Writes what it hears. Hearing returns at once."""

    def __init__(self, upstream: Upstream, experiment: str, recording: Callable[[str], Recording]) -> None:
        """`recording` says what may be kept of a pipeline's runs."""
        self._upstream = upstream
        self._experiment = experiment
        self._recording = recording
        self._known: str | None = None
        self._work: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(QUEUE)
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        """What was not written, since the server started."""

    async def __aenter__(self) -> Telling:
        self._task = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *error: object) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE):
                await self._work.join()
        if self._task is not None:
            self._task.cancel()

    def run_ended(self, run: Run) -> None:
        """Write a call that has ended, if history may keep it."""
        if run.verb in CALLS and (recording := self._recording(run.pipeline)) != "none":
            self._put(partial(self._run, run, content=recording != "meta"))

    def catalog_changed(self, before: Snapshot, after: Snapshot) -> None:
        """Write the versions that are new in service."""
        for name, entry in after.entries.items():
            former = before.entries.get(name)
            known = former.version.digest if former and former.version else None
            if entry.version is not None and entry.serves and entry.version.digest != known:
                self._put(partial(self._version, entry.version))

    def _put(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            self._work.put_nowait(work)
        except asyncio.QueueFull:
            self.dropped += 1

    async def _write(self) -> None:
        while True:
            work = await self._work.get()
            try:
                await work()
            except (Unavailable, Refused, KeyError) as error:  # KeyError: it answers, but not as MLflow does
                self.dropped += 1
                log.warning("nothing was written to the MLflow server: %s", error)
            finally:
                self._work.task_done()

    async def _run(self, run: Run, *, content: bool) -> None:
        experiment, ended = await self._experiment_id(), run.finished or run.started
        about: Json = {
            "pipeline": run.pipeline,
            "version": str(run.version),
            "digest": run.digest,
            "run_id": run.id,
            "caller": run.caller.name,
        }
        begun: Json = {
            "experiment_id": experiment,
            "run_name": f"{run.pipeline} {run.id[-8:]}",
            "start_time": milliseconds(run.started),
            "tags": pairs(about),
        }
        identity: str = (await self._ask("runs/create", begun))["run"]["info"]["run_id"]
        stamp, metrics = milliseconds(ended), {"seconds": ended - run.started, **numbers(run.usage or {})}
        told = [{"key": key, "value": value, "timestamp": stamp, "step": 0} for key, value in metrics.items()]
        parameters = pairs(run.inputs if content else {})
        await self._ask("runs/log-batch", {"run_id": identity, "metrics": told, "params": parameters})
        if content and run.result is not None:
            place = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{identity}/artifacts/result.json"
            await self._sent("PUT", place, run.result.structured or run.result.content)
        status = STATUS.get(run.status, "FAILED")
        await self._ask("runs/update", {"run_id": identity, "status": status, "end_time": stamp})

    async def _version(self, version: Version) -> None:
        with suppress(Refused):  # there is one already
            await self._ask("registered-models/create", {"name": version.pipeline})
        tags = pairs({"version": str(version.number), "digest": version.digest})
        source = f"mcp-server:///{quote(version.pipeline)}/{version.number}"
        await self._ask("model-versions/create", {"name": version.pipeline, "source": source, "tags": tags})

    async def _experiment_id(self) -> str:
        if self._known is None:
            name = quote(self._experiment, safe="")
            try:
                found = await self._sent("GET", f"{API}/experiments/get-by-name?experiment_name={name}")
                self._known = str(found["experiment"]["experiment_id"])
            except Refused as refused:
                if refused.status != 404:
                    raise
                made = await self._ask("experiments/create", {"name": self._experiment})
                self._known = str(made["experiment_id"])
        return self._known

    async def _ask(self, verb: str, body: Json) -> Json:
        return await self._sent("POST", f"{API}/{verb}", orjson.dumps(body, default=str))

    async def _sent(self, method: str, path: str, content: bytes | None = None) -> Json:
        """Its answer. Raises `Refused`, and as `Upstream.send`."""
        answer = await self._upstream.send(method, path, JSON_HEADERS, content)
        body = await self._upstream.read(answer)
        told: Any = None
        with suppress(orjson.JSONDecodeError):
            told = orjson.loads(body or b"{}")
        known = cast(Json, told) if isinstance(told, dict) else {}
        if answer.status_code >= 400:
            raise Refused(answer.status_code, str(known.get("error_code", "")))
        return known


def milliseconds(seconds: float) -> int:
    """A time as MLflow writes it."""
    return round(1000 * seconds)


def pairs(values: Json) -> list[Json]:
    """Values as MLflow's tags and parameters: texts, cut."""
    return [{"key": key[:LONGEST], "value": text(value)} for key, value in values.items()]


def text(value: Any) -> str:
    """A value as text; what is no text as JSON."""
    return (value if isinstance(value, str) else orjson.dumps(value, default=str).decode())[:LONGEST]


def numbers(usage: Json) -> dict[str, float]:
    """What is a number in what a run used."""
    return {key: each for key, each in usage.items() if isinstance(each, int | float)}
