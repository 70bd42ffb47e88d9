"""What Haystack must be told to serve here, and how its errors read.

Its private functions are met here, and where it is made faster: `fast`, `component_calls`, `copying`.

A sync component under `run_async` runs in the loop's default executor, which has few threads: a process
that serves such pipelines should set a larger one.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from haystack import Pipeline
from haystack.components.agents import Agent
from haystack.core.errors import PipelineRuntimeError

from .agents import model_recorded, tool_recorded
from .context import current
from .recording import recorded

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

MAX_REASON = 300
"""Characters of an error's text."""

_SAVING = "HAYSTACK_PIPELINE_SNAPSHOT_SAVE_ENABLED"
_FOLDERS = re.compile(r"(?<![\w:/.])(?:/[^\s/'\"]+)+/(?=\S)|\b[A-Za-z]:(?:\\[^\s\\'\"]+)*\\(?=\S)")


def install() -> None:
    """Prepare Haystack in this process; calling it again changes nothing.

    Every pipeline then stops between two components once the `current` run is to stop, also one that a
    wrapper builds and runs by itself, and its components are recorded where that is wanted. A failing
    component leaves nothing in the user's home. Haystack logs warnings only, unless somebody chose a level.
    """
    for name in ("_run_component", "_run_component_async"):
        _replace(Pipeline, name, prepared)
    _replace(importlib.import_module("haystack.core.pipeline.pipeline"), "_get_output_dir", _without_folder)
    for name in ("_run_step", "_run_step_async"):
        _replace(Agent, name, lambda step: model_recorded(step, reason))
    calling = importlib.import_module("haystack.components.agents.tool_calling")
    for name in ("_make_context_bound_invoke", "_make_bounded_invoke_async"):
        _replace(calling, name, lambda make: tool_recorded(make, reason))
    logger = logging.getLogger("haystack")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


def trace() -> None:
    """Let Haystack make spans of its components, below the span that is open where its pipeline runs."""
    from haystack.tracing.tracer import enable_tracing
    from haystack_integrations.tracing.opentelemetry.tracer import (  # pyright: ignore[reportMissingTypeStubs]
        OpenTelemetryTracer,
    )
    from opentelemetry.trace import get_tracer  # none of these is needed without

    enable_tracing(OpenTelemetryTracer(get_tracer("haystack")))


def prepared(run: F) -> F:
    """A function that runs one component, so that the current run can stop it and have it recorded.

    Its first four parameters are those of Haystack's `_run_component`; it may be a coroutine function.
    """
    return cast(F, _checking(recorded(run, reason)))


def _replace(owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
    """Wrap a private function of Haystack once; if a release has moved it, say so and go on without."""
    original = inspect.getattr_static(owner, name, None)
    function = original.__func__ if isinstance(original, staticmethod) else original
    if not inspect.isfunction(function):
        log.warning("this Haystack has no %s: pipelines are less well behaved here", name)
        return
    if not function.__module__.startswith(f"{__package__}."):
        wrapped = wrap(function)
        setattr(owner, name, staticmethod(wrapped) if isinstance(original, staticmethod) else wrapped)


def _checking(run: Callable[..., Any]) -> Callable[..., Any]:
    """Ask the run before each component; works for the coroutine function too, which is awaited at once."""

    @wraps(run, assigned=())  # its signature stays known, but not its module: see `_replace`
    def checked(*arguments: Any, **named: Any) -> Any:
        context = current.get(None)
        if context is not None:
            context.check()
        return run(*arguments, **named)

    return checked


def _without_folder(folder: Callable[[str], str]) -> Callable[[str], str | None]:
    """No folder unless snapshots are saved: where none can be made, Haystack loses the component's error."""

    def found(name: str) -> str | None:
        return folder(name) if os.environ.get(_SAVING, "").lower() in ("true", "1") else None

    return found


def reason(error: BaseException) -> str:
    """Why it failed, in one line of at most `MAX_REASON` characters: component, type, text; no folders."""
    component = None
    while isinstance(error, PipelineRuntimeError) and error.__cause__ is not None:
        component, error = error.component_name or component, error.__cause__
    kind = "" if isinstance(error, PipelineRuntimeError) else type(error).__name__
    line = ": ".join(part for part in (component, kind, _text(error)) if part)
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"


def _text(error: BaseException) -> str:
    try:
        text = str(error)[: 10 * MAX_REASON]
    except Exception:  # an author's own `__str__` may raise anything; the type must do then
        return ""
    return _FOLDERS.sub("", " ".join(text.split()))
