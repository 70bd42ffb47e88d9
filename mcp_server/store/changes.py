"""What is to be written of a run, made without the database: a row, a count, what it left."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from ..models import CALLS, Artifact, Json, Recording, Run

SMALLEST = 0.0001
"""Seconds of the first bucket; each next one is a quarter longer, so a percentile is off by an eighth."""
GROWTH = math.log(1.25)
LAST = 100
EDGES = tuple(SMALLEST * math.exp(GROWTH * each) for each in range(LAST))
"""How long the calls of each bucket but the last one take at most."""
CACHED = -1
"""The bucket of calls that were not run, because their result was kept."""
DAY = 86400
AT_ONCE = 256
"""Ids whose random part is made together."""
RECORDED = CALLS | {"batch"}
"""The verbs of runs that are rows."""


class Count(NamedTuple):
    """An ended call as it is counted."""

    pipeline: str
    version: int
    day: int
    bucket: int
    failed: bool
    seconds: float


def counted(pipeline: str, version: int, started: float, finished: float, *, failed: bool) -> Count:
    """An ended call; times are seconds since the epoch."""
    seconds = max(0.0, finished - started)
    return Count(pipeline, version, int(finished // DAY), bucket(seconds), failed, seconds)


def bucket(seconds: float) -> int:
    """The bucket of a duration, from 0."""
    return bisect_left(EDGES, seconds)


class RunRow(NamedTuple):
    """A row of the table `runs`, its columns in order."""

    id: str
    pipeline: str
    version: int
    digest: str
    verb: str
    caller: str
    origin: str
    status: str
    instance: str
    attempt: int
    timeout: float
    started: float
    finished: float | None
    error: str | None
    usage: str | None
    parent: str | None
    step: str | None
    head: str | None
    key: str | None
    fingerprint: str | None
    size: int
    partial: bool
    fault: str | None
    inputs: bytes | None
    content: bytes | None
    structured: bytes | None
    continues: bool
    events: bytes | None
    question: bytes | None
    expires: float | None
    swept: None = None


@dataclass(frozen=True, slots=True)
class RunChange:
    """A run as it is now: a row if it is recorded, a count if it is an ended call."""

    row: RunRow | None
    count: Count | None = None
    left: tuple[Artifact, ...] = ()
    """What it left, with content."""


def changed(run: Run, record: Recording, instance: str, life: float | None = None) -> RunChange:
    """What to write of a run. An idempotency key is a promise to give the result again, so it keeps that.

    It is kept for `life` seconds from its beginning, if that was promised.
    """
    count = None
    if run.verb in CALLS and run.status in ("done", "failed"):
        failed = run.status == "failed"
        count = counted(run.pipeline, run.version, run.started, run.finished or run.started, failed=failed)
    whole = record in ("full", "steps")
    if run.verb not in RECORDED or (record == "none" and run.key is None):
        return RunChange(None, count)
    kept = run.result.artifacts if run.result is not None and whole else ()
    row = _row(run, instance, run.started + life if life else None, whole=whole)
    return RunChange(row, count, tuple(each for each in kept if each.content) if kept else ())


def _row(run: Run, instance: str, expires: float | None, *, whole: bool) -> RunRow:
    inputs = packed(run.inputs) if whole else None
    result = run.result if whole or run.key else None
    content, structured = (result.content, result.structured) if result else (None, None)
    left = sum(len(each.content) for each in result.artifacts) if result and result.artifacts else 0
    fault = result.fault if result else None
    return RunRow(
        run.id,
        run.pipeline,
        run.version,
        run.digest,
        run.verb,
        run.caller.name,
        run.caller.origin,
        run.status,
        instance,
        run.attempt,
        run.timeout,
        run.started,
        run.finished,
        run.error if whole else None,
        packed(run.usage).decode() if run.usage else None,
        run.parent,
        run.step,
        None,
        key_of(run.caller.name, run.key) if run.key else None,
        fingerprint(run.pipeline, run.inputs, *origin(run)) if run.key else None,
        len(inputs or b"") + len(content or b"") + len(structured or b"") + left + run.recorded,
        bool(result and result.partial),
        fault.model_dump_json() if fault else None,
        inputs,
        content,
        structured,
        run.continues,
        packed(run.events) if whole and run.events else None,
        packed(run.question.model_dump(mode="json")) if whole and run.question else None,
        expires,
    )


class Ids:
    """Makes ids as `new_id`, with one look at the system's randomness for many."""

    def __init__(self) -> None:
        self._random: list[str] = []

    def new(self) -> str:
        """The next one."""
        if not self._random:
            many = os.urandom(10 * AT_ONCE).hex()
            self._random = [many[start : start + 20] for start in range(0, len(many), 20)]
        return f"{time.time_ns() // 1_000_000:012x}{self._random.pop()}"


def new_id() -> str:
    """A run id: 48 bits of milliseconds, then 80 random bits, in hex; sorts by time, cannot be guessed."""
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def earliest_id(seconds: float) -> str:
    """What the ids of runs that are made from then on are not below; seconds since the epoch."""
    return f"{max(0, math.ceil(seconds * 1000)):012x}"


def key_of(caller: str, key: str) -> str:
    """How an idempotency key of the caller of that name is stored."""
    return hashlib.sha256(f"{caller}\0{key}".encode()).hexdigest()


def fingerprint(pipeline: str, inputs: Json, *more: Any) -> str:
    """The same for the same pipeline and arguments, in whatever order they are written.

    `more` is what else was asked for, as JSON values.
    """
    text = json.dumps([pipeline, inputs, *more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def origin(run: Run) -> tuple[Any, ...]:
    """What a run was made from, for all but a plain call."""
    return (run.verb, run.parent, run.step) if run.parent or run.verb not in CALLS else ()


def packed(value: Any) -> bytes:
    """As JSON; a string that is no valid Unicode is escaped."""
    try:
        return orjson.dumps(value)
    except TypeError:  # lone surrogates, integers beyond 64 bits
        return json.dumps(value, default=str).encode()


def unpacked(text: bytes) -> Any:
    """What was packed."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)
