"""How a source becomes something that can be called. Runs in hosts (or in this process with engine `local`).

A kind is a module of this folder with two functions:
    claims(root: Path) -> Path | None       the file that makes `root` a pipeline of this kind
    load(name: str, root: Path) -> Pipeline
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ..errors import Broken
from ..models import Manifest, Problem, Run
from .context import Context

KINDS = ("wrapper", "dspy", "yaml", "steps")


class Work(NamedTuple):
    """What a run comes down to: a function of the run's context, for a thread or for the event loop."""

    blocking: bool
    """True if `call` gives the value and occupies a thread, false if it gives an awaitable of the value."""
    call: Callable[[Context], Any]


class Pipeline(Protocol):
    """A loaded pipeline: warm, and safe to call many times at once."""

    @property
    def manifest(self) -> Manifest:
        """What a caller may know: tool, kind, whether a call blocks a thread, warnings."""
        ...

    @property
    def holder(self) -> object:
        """What holds its Haystack pipelines, as `hasten` looks for them; None if it has none."""
        ...

    def prepare(self, run: Run) -> Work:
        """The work of this run: `run.verb` says what is wanted, `run.inputs` are validated JSON.

        Its function decodes the arguments and runs. Streams are consumed there: chunks go to the context,
        the whole is the value. It raises whatever the pipeline raises, and `Invalid` for arguments that
        pass the schema but do not decode. For the other verbs see `Chat.prepare`, `Publications.prepare`.
        """
        ...

    def close(self) -> None:
        """Let go of what `setup` took. Called once, after the last call ended."""
        ...


def load(name: str, root: Path) -> Pipeline:
    """Load the pipeline in the folder `root` under `name`, warmed up.

    Blocking; call it in a thread. Raises `Broken` with file and line for everything an author can mend.
    """
    for kind in KINDS:
        module = import_module(f".{kind}", __name__)
        if module.claims(root):
            return module.load(name, root)
    raise Broken(Problem(message="the folder has neither pipeline_wrapper.py nor a pipeline YAML"))
