"""A run as it is made, before it begins."""

from __future__ import annotations

import time

from ..access import sight
from ..models import NO_CLIENT, Caller, Client, Json, Run, Verb, Version
from ..settings import Settings
from ..store.changes import new_id

BLANK = Run(
    id="",
    pipeline="",
    version=0,
    digest="",
    inputs={},
    verb="call",
    caller=Caller(),
    client=NO_CLIENT,
    request_id="",
    timeout=0.0,
    key=None,
    parent=None,
    step=None,
    status="running",
    result=None,
    error=None,
    started=0.0,
    finished=None,
    question=None,
)
"""A run that is copied: what it gets is known to fit, and validating it again costs more than the rest. What
most runs get is named here, so that a copy has the same fields."""
READS: frozenset[Verb] = frozenset({"read", "prompt", "complete"})
"""The verbs that show what a pipeline publishes."""


def check(caller: Caller, verb: Verb, pipeline: str) -> None:
    """Raise `NotFound`, as if it were not there, for a pipeline that this caller may not run so."""
    sight.check(caller, "read" if verb in READS else "run", pipeline)


def made(
    version: Version, caller: Caller, inputs: Json, timeout: float, identity: str = "", **about: object
) -> Run:
    """A new run of this version; `timeout` is in seconds, `about` are further fields."""
    return BLANK.model_copy(
        update={
            "id": identity or new_id(),
            "pipeline": version.pipeline,
            "version": version.number,
            "digest": version.digest,
            "inputs": inputs,
            "caller": caller,
            "timeout": timeout,
            "started": time.time(),
            **about,
        }
    )


def again(blank: Run, caller: Caller, inputs: Json, client: Client, request_id: str, identity: str) -> Run:
    """Another run of the version that `blank` is of, which begins now; `identity` is its id, `request_id`
    that of the HTTP request."""
    return blank.model_copy(
        update={
            "id": identity,
            "inputs": inputs,
            "caller": caller,
            "client": client,
            "request_id": request_id,
            "started": time.time(),
        }
    )


def bounded(timeout: float | None, version: Version, settings: Settings) -> float:
    """The seconds a call may take: what was asked for, else what the pipeline says, up to the maximum."""
    return min(timeout or version.options.timeout or settings.call_timeout, settings.max_timeout)
