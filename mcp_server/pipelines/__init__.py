"""How a source becomes something that can be called. Runs in hosts (or in this process with engine `local`).

A kind is a module of this folder with two functions:
    claims(root: Path) -> Path | None       the file that makes `root` a pipeline of this kind
    load(name: str, root: Path) -> Pipeline
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ..errors import Broken
from ..models import Json, Manifest, Problem
from .context import Context

KINDS = ("wrapper", "yaml")


class Pipeline(Protocol):
    """A loaded pipeline: warm, and safe to call many times at once."""

    @property
    def manifest(self) -> Manifest:
        """What a caller may know: tool, kind, whether a call blocks a thread, warnings."""
        ...

    def call(self, arguments: Json, context: Context) -> Any:
        """Decode the validated JSON arguments and run.

        If `manifest.blocking`, this is called in a thread and gives the value. Otherwise it is called on
        the event loop and gives an awaitable of the value. Streams are consumed here: chunks go to
        `context`, the whole is the value. Raises whatever the pipeline raises, and `Invalid` for
        arguments that pass the schema but do not decode.
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
