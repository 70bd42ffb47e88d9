"""What is known of the plain calls of a pipeline before one comes, so that it is found out once."""

from __future__ import annotations

from dataclasses import dataclass

from ..catalog import Serving, Snapshot
from ..models import Caller, Manifest, Options, Recording, Version
from ..settings import Settings
from ..store.history import History
from .making import bounded, made
from .recorder import recorder_of

NOBODY = Caller(name="")


@dataclass(frozen=True)
class Ready:
    """It holds as long as the snapshot that has the entry."""

    entry: Serving
    options: Options
    """What the pipeline declares."""
    version: Version
    manifest: Manifest | None
    timeout: float
    """Seconds that they may take."""
    recording: Recording
    at_once: bool
    """True if nothing but room has to be waited for: they are not drawn for another version, not recorded
    step by step, and not answered with a kept result."""


def readied(entry: Serving, snapshot: Snapshot, settings: Settings, history: History) -> Ready:
    """The same of this entry."""
    version, recording = entry.version, entry.options.record or settings.record
    steps = version.manifest is not None and version.manifest.kind == "steps"
    recorder = recorder_of(entry, made(version, NOBODY, {}, 0.0), recording, history)
    at_once = not (steps or recorder or entry.name in snapshot.staged or entry.caches)
    timeout = bounded(None, version, settings)
    return Ready(entry, entry.options, version, version.manifest, timeout, recording, at_once)
