"""The logger that Hayhooks gives to wrappers."""

from __future__ import annotations

import json
import logging
from typing import Any

from ...models import Json


class Log:
    """A logger with the methods wrappers use: messages are strings with `{}` places, or dicts.

    Lines go to the standard logger `mcp_server.pipelines.log`, never to callers: `Context.log` does that.
    """

    def __init__(self, logger: logging.Logger, bound: Json | None = None, trace: bool = False) -> None:
        self._logger = logger
        self._bound = bound or {}
        self._trace = trace

    def trace(self, message: object, *values: Any, **named: Any) -> None:
        self._write(5, message, values, named)

    def debug(self, message: object, *values: Any, **named: Any) -> None:
        self._write(logging.DEBUG, message, values, named)

    def info(self, message: object, *values: Any, **named: Any) -> None:
        self._write(logging.INFO, message, values, named)

    def success(self, message: object, *values: Any, **named: Any) -> None:
        self._write(logging.INFO, message, values, named)

    def warning(self, message: object, *values: Any, **named: Any) -> None:
        self._write(logging.WARNING, message, values, named)

    def error(self, message: object, *values: Any, **named: Any) -> None:
        self._write(logging.ERROR, message, values, named)

    def critical(self, message: object, *values: Any, **named: Any) -> None:
        self._write(logging.CRITICAL, message, values, named)

    def exception(self, message: object, *values: Any, **named: Any) -> None:
        """An error with the traceback of the exception being handled."""
        self._write(logging.ERROR, message, values, named, trace=True)

    def log(self, level: str | int, message: object, *values: Any, **named: Any) -> None:
        """At a level by name or number; an unknown name is INFO."""
        names = {**logging.getLevelNamesMapping(), "TRACE": 5}
        number = level if isinstance(level, int) else names.get(level.upper(), logging.INFO)
        self._write(number, message, values, named)

    def bind(self, **fields: Any) -> Log:
        """The same logger, which adds `fields` to every line."""
        return Log(self._logger, {**self._bound, **fields}, self._trace)

    def opt(self, *, exception: object = None, **ignored: Any) -> Log:
        """The same logger, with the traceback if `exception` is true; other options say how to colour."""
        return Log(self._logger, self._bound, bool(exception))

    def _write(
        self, level: int, message: object, values: tuple[Any, ...], named: Json, trace: bool = False
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        text = _formatted(message, values, {**self._bound, **named})
        fields = " ".join(f"{name}={value}" for name, value in self._bound.items())
        line = f"{text} | {fields}" if fields else text
        self._logger.log(level, "%s", line, exc_info=trace or self._trace, stacklevel=3)


def _formatted(message: object, values: tuple[Any, ...], named: Json) -> str:
    """A line that cannot be formatted is written as it is: logging must not break a pipeline."""
    if isinstance(message, dict):
        return json.dumps(message, ensure_ascii=False, default=str)
    try:
        return str(message).format(*values, **named) if values or named else str(message)
    except (LookupError, ValueError, AttributeError):
        return str(message)


log = Log(logging.getLogger("mcp_server.pipelines.log"))
