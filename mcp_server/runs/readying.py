"""What is known of the plain calls of a pipeline before one comes, so that it is found out once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..catalog import Serving, Snapshot
from ..models import Caller, Json, Manifest, Options, Recording, Run
from ..settings import Settings
from ..store.history import History
from .making import bounded, made
from .recorder import recorder_of

NOBODY = Caller(name="")


@dataclass(frozen=True)
class Ready:
    """It holds as long as the snapshot that has the entry it was made of."""

    options: Options
    """What the pipeline declares."""
    blank: Run
    """What all their runs have."""
    check: Callable[[Json], None]
    """See `Serving.check`."""
    manifest: Manifest | None
    recording: Recording
    at_once: bool
    """True if nothing but room has to be waited for: they are not drawn for another version, not recorded
    step by step, and not answered with a kept result."""


def readied(entry: Serving, snapshot: Snapshot, settings: Settings, history: History) -> Ready:
    """The same of this entry."""
    version, recording = entry.version, entry.options.record or settings.record
    steps = version.manifest is not None and version.manifest.kind == "steps"
    blank = made(version, NOBODY, {}, bounded(None, version, settings))
    recorder = recorder_of(entry, blank, recording, history)
    at_once = not (steps or recorder or entry.name in snapshot.staged or entry.caches)
    return Ready(entry.options, blank, entry.check, version.manifest, recording, at_once)
