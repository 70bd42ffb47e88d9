"""Pipelines that code hands over as objects, and what can be known of them before they are loaded.

Light to import: Haystack is only asked where it is loaded already, for somebody made the pipeline with it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

from ..errors import Invalid
from ..models import Options, Source
from .authoring import PipelineWrapper
from .chat import COMPLETIONS, RESPONSES
from .options import WRAPPER, options_of, options_of_object

YAML = "pipeline.yml"
_RUNS = ("run_api", "run_api_async", *COMPLETIONS, *RESPONSES)


@dataclass(frozen=True)
class Registered:
    """A pipeline without a folder. `load` gives the loaded `Pipeline`; it blocks, and may raise `Broken`."""

    source: Source
    """What can be written down of it: its YAML, or the text of its class; no files if that is unknown."""
    options: Options
    load: Callable[[], object]


def registered(name: str, value: object) -> Registered:
    """A Haystack `Pipeline`, or a wrapper: an object, or a class that is called without arguments.

    Raises `Invalid` for anything else, and `Broken` for options that do not fit.
    """
    haystack = sys.modules.get("haystack")
    if haystack is not None and isinstance(value, haystack.Pipeline):
        files = _dumped(value)
        source = Source(name=name, files=files)
        return Registered(source, options_of(files), partial(_from_pipeline, name, value, files))
    kind: type[Any] = value if isinstance(value, type) else type(value)
    if not any(callable(getattr(kind, method, None)) for method in _RUNS):
        raise Invalid(f"{name}: register a Haystack Pipeline, or an object or a class with run_api.")
    options = options_of_object(value, PipelineWrapper)
    load = partial(_from_wrapper, name, value, options, _folder(kind))
    return Registered(Source(name=name, files=_text(kind)), options, load)


def _dumped(pipeline: Any) -> dict[str, bytes]:
    """Its YAML; nothing if a component cannot be written down."""
    try:
        return {YAML: pipeline.dumps().encode()}
    except (
        Exception
    ):  # components say themselves how they are written, or that they cannot be: anything may come
        return {}


def _text(kind: type[Any]) -> dict[str, bytes]:
    """The text of a class; nothing if it has none, as in an interactive session."""
    try:
        return {WRAPPER: dedent(inspect.getsource(kind)).encode()}
    except (OSError, TypeError):
        return {}


def _folder(kind: type[Any]) -> Path:
    """Where the class is written: problems name files relative to it."""
    try:
        return Path(inspect.getfile(kind)).absolute().parent
    except (OSError, TypeError):
        return Path.cwd()


def _from_wrapper(name: str, value: Any, options: Options, root: Path) -> object:
    make = value if isinstance(value, type) else lambda: value
    return import_module(f"{__package__}.wrapper").offered(name, make, options, root)


def _from_pipeline(name: str, pipeline: Any, files: dict[str, bytes]) -> object:
    return import_module(f"{__package__}.yaml").offered(name, pipeline, files)
