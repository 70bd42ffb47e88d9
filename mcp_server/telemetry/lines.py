"""Log records as lines: one a record, as text for people or JSON for programs."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Literal

import orjson

from ..models import Json, Run

LineFormat = Literal["text", "json"]

LONGEST = 2048
"""Characters of a message; what is longer is cut."""
TRACED = 8
"""Calls that a line names of an error, innermost last."""
ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, 0x200E, 0x200F, *range(0x202A, 0x202F))
}
"""What could end a line, move a terminal's cursor or turn the direction of text, made visible."""

log = logging.getLogger(__name__)

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the HTTP request that is being served."""


def of_request() -> Mapping[str, str]:
    """What the lines of the process that serves say besides: which request they belong to."""
    identity = request_id.get()
    return {"request_id": identity} if identity else {}


def configure(level: str, form: LineFormat, about: Callable[[], Mapping[str, str]]) -> None:
    """Write the records of every logger to stderr. `about` tells what a line belongs to."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(about) if form == "json" else TextLines(about))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def run_ended(run: Run) -> None:
    """One line a run, at level info."""
    if log.isEnabledFor(logging.INFO):
        seconds = (run.finished or run.started) - run.started
        about = {
            "run_id": run.id,
            "pipeline": run.pipeline,
            "status": run.status,
            "surface": run.caller.origin,
            "caller": run.caller.name,
            "seconds": f"{seconds:.3f}",
        } | ({"request_id": run.request_id} if run.request_id else {})
        log.info("run ended", extra={"about": about})


class Lines(logging.Formatter):
    """What both forms share."""

    def __init__(self, about: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._about = about

    def known(self, record: logging.LogRecord) -> dict[str, str]:
        """What the record belongs to: what it says itself (`extra={"about": …}`) goes before the rest."""
        own: Mapping[str, str] = getattr(record, "about", {})
        return {**self._about(), **own}


class TextLines(Lines):
    """`WARNING mcp_server.runs: run … failed request_id=…`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line."""
        known = "".join(f" {key}={value}" for key, value in self.known(record).items())
        failed = f" ({error_of(record)})" if record.exc_info else ""
        line = f"{record.levelname} {record.name}: {message_of(record)}{failed}{known}"
        return line.translate(ESCAPES)


class JsonLines(Lines):
    """One JSON object a line: `time` (RFC 3339), `level`, `logger`, `message`, `error`, ids."""

    def format(self, record: logging.LogRecord) -> str:
        """The record in one line."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: Json = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": message_of(record),
            **self.known(record),
        }
        if record.exc_info:
            line["error"] = error_of(record)
        return orjson.dumps(line, default=str).decode()


def message_of(record: logging.LogRecord) -> str:
    """The message, cut; characters that are no Unicode text are replaced."""
    try:
        text = record.getMessage()
    except Exception:  # a message whose values do not fit must not cost the line
        text = str(record.msg)
    text = text.encode(errors="replace").decode()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"


def error_of(record: logging.LogRecord) -> str:
    """The error and the last calls that led to it, in one line."""
    assert record.exc_info
    kind, error, trace = record.exc_info
    if kind is None:
        return "no error"
    calls = traceback.extract_tb(trace, limit=-TRACED)
    places = " > ".join(f"{call.filename}:{call.lineno} {call.name}" for call in calls)
    return f"{kind.__name__}: {str(error)[:LONGEST]} at {places}"
