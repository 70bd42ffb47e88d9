"""Who is told about a stream besides its reader: the callbacks of Hayhooks' streaming functions."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..models import Json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listeners:
    """What is told about a stream besides its reader. What a listener returns is yielded before the chunk."""

    tool_call_start: Callable[[str, Json, str | None], Any] | None = None
    tool_call_end: Callable[[str, Json, str, bool], Any] | None = None
    reasoning: Callable[[str, Json | None], Any] | None = None
    pipeline_end: Callable[[Any], str | None] | None = None

    def around(self, item: Any) -> Iterator[Any]:
        """The item, and before it whatever the listeners have to say about it."""
        for call in getattr(item, "tool_calls", None) or ():
            if self.tool_call_start and call.tool_name:
                yield from _told(self.tool_call_start, call.tool_name, _object(call.arguments), call.id)
        if self.tool_call_end and (ended := getattr(item, "tool_call_result", None)):
            result = ended.result if isinstance(ended.result, str) else str(ended.result)
            yield from _told(
                self.tool_call_end, ended.origin.tool_name, ended.origin.arguments, result, bool(ended.error)
            )
        if self.reasoning and (thought := getattr(item, "reasoning", None)) is not None:
            yield from _told(self.reasoning, thought.reasoning_text, getattr(thought, "extra", None))
        yield item

    def at_end(self, result: Any) -> Iterator[Any]:
        """A last chunk, if the listener gives a text."""
        if self.pipeline_end:
            from haystack.dataclasses import StreamingChunk  # heavy; whoever streams has it loaded

            yield from (StreamingChunk(content=text) for text in _told(self.pipeline_end, result))


def _told(listener: Callable[..., Any], *about: Any) -> list[Any]:
    """What the listener gives, as a list; its own errors do not break the stream."""
    try:
        given = listener(*about)
    except Exception:  # the author's code; an error in it is logged, as Hayhooks does
        log.exception("a listener of a stream failed")
        return []
    return list(given) if isinstance(given, list) else [given] if given else []  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _object(arguments: str | None) -> Json:
    """A tool call's arguments, which arrive in fragments of JSON."""
    with suppress(ValueError):
        parsed = json.loads(arguments or "{}")
        return parsed if isinstance(parsed, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    return {}
