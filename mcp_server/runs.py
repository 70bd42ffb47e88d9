"""The life of a run: found, checked, run, recorded. The one way to run a pipeline, whatever the surface."""

from __future__ import annotations

import os
import time

import anyio.lowlevel

from .catalog import Catalog
from .engines import Engine
from .models import Caller, Emit, Event, Json, Run
from .settings import Settings


class Runs:
    """Calls pipelines. Holds no state of its own."""

    def __init__(self, catalog: Catalog, engine: Engine, settings: Settings) -> None:
        self._catalog = catalog
        self._engine = engine
        self._settings = settings

    async def call(
        self, caller: Caller, name: str, inputs: Json, emit: Emit, *, timeout: float | None = None
    ) -> Run:
        """Run the pipeline `name` once and give the ended run; a failure is its `status` and `result`.

        `timeout` is in seconds and bounded by the settings. Raises `NotFound` for an unknown pipeline,
        `Invalid` for arguments that do not fit its schema, `Unavailable` for one that does not serve.
        """
        entry = await self._catalog.find(name)
        entry.check(inputs)
        wanted = timeout or entry.version.options.timeout or self._settings.call_timeout
        run = Run(
            id=new_id(),
            pipeline=name,
            version=entry.version.number,
            digest=entry.version.digest,
            inputs=inputs,
            caller=caller,
            timeout=min(wanted, self._settings.max_timeout),
        )
        failed = True
        try:
            result = await self._engine.run(run, emit)
            failed = result.is_error
        finally:
            self._catalog.count(name, failed=failed)
        status = "failed" if failed else "done"
        return run.model_copy(update={"result": result, "status": status, "finished": time.time()})


def new_id() -> str:
    """A run id: 48 bits of milliseconds, then 80 random bits, in hex; sorts by time, cannot be guessed."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


async def ignore(event: Event) -> None:
    """An `emit` for callers that do not listen."""
    await anyio.lowlevel.checkpoint()
