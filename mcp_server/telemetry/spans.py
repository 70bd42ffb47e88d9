"""Spans of runs, where tracing is on. Light: OpenTelemetry is only imported if it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..models import Result, Run

if TYPE_CHECKING:
    from .tracing import Tracing

KEYS = ("traceparent", "tracestate", "baggage")
"""What carries a trace from caller to callee (W3C Trace Context; in MCP the same keys of `_meta`)."""

Mark = Callable[[Result], None]
"""Told how the run ended."""
Spans = Callable[[Run], AbstractContextManager[Mark]]


def spans(endpoint: str | None) -> Spans | None:
    """What to wrap the work of each run in; nothing while tracing is off."""
    if endpoint is None:
        return None
    from .tracing import spanned  # the whole SDK of OpenTelemetry

    return spanned


def traced(endpoint: str) -> Tracing:
    """Send spans and metrics of this process there from now on."""
    from .tracing import Tracing  # as above

    tracing = Tracing(endpoint)
    tracing.install()
    return tracing


def carried(given: Mapping[str, object]) -> dict[str, str]:
    """What of these headers, or of this `_meta`, carries a trace."""
    return {key: value for key in KEYS if isinstance(value := given.get(key), str)}
