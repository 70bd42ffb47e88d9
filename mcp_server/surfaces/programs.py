"""The routes of DSPy programs as an MLOps platform has them, over pipelines of any kind: `/api/v1/dspy/…`.

A program is a pipeline, its execution a run. What fails is told in the answer, with the status 200; what
could not begin is refused as everywhere.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import orjson
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ..access import sight
from ..catalog import Entry
from ..catalog.versions import version_number
from ..content.encoder import dump
from ..errors import Invalid, NotFound
from ..models import CALLS, Json, Run
from ..runs import Live, ignore
from ..server import Server
from . import Surface
from .callers import caller_of
from .listening import listen
from .management.run_views import parked
from .operations import OBJECT, TEXT, Handler, Operation, as_json, gives, mounted
from .registry.bodies import Body, answering, fault, parsed

ROOT = "/api/v1/dspy"
ORIGIN = "programs"
INPUTS = 1000
"""Runs of one batch."""


class Execute(Body):
    program_id: str = Field(description="A pipeline, or one of its versions as `name:version`.")
    inputs: Json = Field(default_factory=dict)
    mode: Literal["normal"] = "normal"
    timeout: float | None = Field(None, gt=0, description="Seconds, up to the server's maximum.")


class ExecuteBatch(Body):
    program_id: str
    inputs_list: list[Json] = Field(min_length=1, max_length=INPUTS)
    timeout: float | None = Field(None, gt=0, description="Seconds each may take.")


Declared = tuple[str, str, Handler, type[Body] | None, Json]
EXECUTION = gives(execution_id=TEXT, success={"type": "boolean"}, program_name=TEXT, metadata=OBJECT)


def surface(server: Server) -> Surface:
    """Every route."""
    programs = Programs(server)
    known: tuple[Declared, ...] = (
        ("POST", "/execute", programs.execute, Execute, EXECUTION),
        ("POST", "/execute/batch", programs.batch, ExecuteBatch, gives(batch_id=TEXT)),
        ("GET", "/programs", programs.list, None, {"type": "array", "items": OBJECT}),
        ("GET", "/execution/{execution_id}", programs.execution, None, EXECUTION),
        ("GET", "/stats", programs.statistics, None, gives(statistics=OBJECT)),
        ("GET", "/health", programs.health, None, gives(status=TEXT)),
        ("POST", "/cache/clear", programs.clear, None, gives(message=TEXT)),
    )
    made = [
        Operation(
            method,
            ROOT + path,
            answering(handle),
            (handle.__doc__ or "").partition(".")[0],
            takes=body.model_json_schema() if body else None,
            answer=answer,
            tag="Programs",
        )
        for method, path, handle, body, answer in known
    ]
    return mounted(made)


class Programs:
    """Each method is one route."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._runs, self._audit = server.runs, server.audit
        self._batches = server.batches
        self._history = server.history
        self._tracked = server.settings.tracking_log

    async def execute(self, request: Request) -> Response:
        """Run a program to its end, or until its client leaves."""
        body = await parsed(request, Execute)
        name, version = await self._program(request, body.program_id)
        caller = caller_of(request, ORIGIN)
        begin = partial(self._runs.start, caller, name, body.inputs, timeout=body.timeout, version=version)
        try:
            heard = await listen(self._runs, request, begin)
        except Invalid as error:
            raise fault(str(error), "body", "inputs") from None
        await heard.end()
        return as_json(executed(heard.run, heard.live))

    async def batch(self, request: Request) -> Response:
        """Run a program once for each of many inputs; one that fails, fails alone."""
        body = await parsed(request, ExecuteBatch)
        name, version = await self._program(request, body.program_id)
        run = await self._batches.begin(
            caller_of(request, ORIGIN), name, body.inputs_list, timeout=body.timeout, version=version
        )
        live = self._runs.find(caller_of(request, ORIGIN), run.id)
        live.listener = ignore
        await self._runs.attend(live)
        items = [
            each
            for each in (await self._batches.get(caller_of(request, ORIGIN), run.id)).items
            if each is not None
        ]
        results = [executed(each) for each in items]
        successful = sum(1 for each in results if each["success"])
        counts = {"total": len(body.inputs_list), "successful": successful}
        failed = len(body.inputs_list) - successful
        return as_json({"batch_id": run.id, **counts, "failed": failed, "results": results})

    async def list(self, request: Request) -> Response:
        """List the programs."""
        entries = (await self._catalog.ready()).entries.values()
        by = caller_of(request, ORIGIN)
        seen = [each for each in entries if by.may("read", each.name)]
        shown = [program(each) for each in seen if each.manifest and each.version]
        return Response(dump(shown), media_type="application/json")

    async def execution(self, request: Request) -> Response:
        """Show an execution."""
        identity: str = request.path_params["execution_id"]
        try:
            run = await self._runs.past.run(caller_of(request, ORIGIN), identity)
        except NotFound:
            run = None
        if run is None or run.verb not in CALLS:
            raise NotFound(f"Execution not found: {identity[:64]}")
        return as_json({**executed(run), "status": run.status})

    async def statistics(self, request: Request) -> Response:
        """Count all executions."""
        counts = await self._counts()
        cached = any(each.options.cache for each in self._catalog.snapshot.entries.values())
        return as_json({"statistics": counts, "cache_enabled": cached, "mlflow_tracking": self._tracked})

    async def health(self, request: Request) -> Response:
        """Tell how executing is going."""
        entries = self._catalog.snapshot.entries.values()
        broken = any(each.state == "error" for each in entries) or bool(self._history.lost)
        counts = await self._counts()
        del counts["average_execution_time"]
        return as_json({"status": "degraded" if broken else "healthy", **counts})

    async def clear(self, request: Request) -> Response:
        """Forget the kept results."""
        async with self._audit.noting("clear_cache", caller_of(request, ORIGIN)):
            self._runs.cache.clear()
        return as_json({"message": "Cache cleared successfully"})

    async def _counts(self) -> Json:
        known = (await self._runs.past.statistics(days=0)).whole
        rate = 1 - known.failed / known.total if known.total else None
        return {
            "total_executions": known.total + known.cached,
            "success_rate": None if rate is None else round(rate, 4),
            "average_execution_time": None if known.mean is None else round(known.mean, 4),
        }

    async def _program(self, request: Request, identity: str) -> tuple[str, int | None]:
        """The pipeline that is meant, and its version if one is. Raises `NotFound`."""
        name, colon, text = identity.partition(":")
        version = version_number(text)
        with suppress(NotFound):
            if version or not colon:
                sight.check(caller_of(request, ORIGIN), "run", name)
                await self._catalog.find(name, version)
                return name, version
        raise NotFound(f"Program not found: {identity[:100]}")


def program(entry: Entry) -> Json:
    """A pipeline as a program."""
    assert entry.manifest is not None and entry.version is not None, "only of loaded ones"
    tool = entry.manifest.tool
    fields = [[*tool.get(key, {}).get("properties", {})] for key in ("inputSchema", "outputSchema")]
    return {
        "program_id": entry.name,
        "name": tool.get("title") or entry.name,
        "version": str(entry.version.number),
        "signatures": [{"input_fields": fields[0], "output_fields": fields[1]}],
        "description": tool.get("description", ""),
    }


def executed(run: Run, live: Live | None = None) -> Json:
    """A run as an execution."""
    success = run.status == "done"
    error = None if success else run.error or run.status
    if live is not None and live.question is not None:
        error = parked(live, live.question)
    return {
        "execution_id": run.id,
        "success": success,
        "outputs": outputs(run) if success else None,
        "error": error,
        "execution_time": round((run.finished or time.time()) - run.started, 4),
        "program_name": run.pipeline,
        "metadata": {"version": str(run.version)} | ({"usage": run.usage} if run.usage else {}),
    }


def outputs(run: Run) -> Any:
    """What it gave as an object; content blocks where it gave nothing else, and nothing if none is kept."""
    if run.result is None:
        return {}
    if run.result.structured is not None:
        return orjson.loads(run.result.structured)
    return {"content": orjson.loads(run.result.content)}
