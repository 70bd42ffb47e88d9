"""A run as it is made, before it begins."""

from __future__ import annotations

from ..models import Caller, Json, Run, Version
from ..settings import Settings
from ..store.changes import new_id


def made(version: Version, caller: Caller, inputs: Json, timeout: float) -> Run:
    """A new run of this version; `timeout` is in seconds."""
    return Run(
        id=new_id(),
        pipeline=version.pipeline,
        version=version.number,
        digest=version.digest,
        inputs=inputs,
        caller=caller,
        timeout=timeout,
    )


def bounded(timeout: float | None, version: Version, settings: Settings) -> float:
    """The seconds a call may take: what was asked for, else what the pipeline says, up to the maximum."""
    return min(timeout or version.options.timeout or settings.call_timeout, settings.max_timeout)
