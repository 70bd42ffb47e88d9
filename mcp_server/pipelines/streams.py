"""Consumes what a pipeline streams: pieces go to the context as they come, the whole is the value."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any, Protocol, cast

import anyio
import anyio.to_thread
from pydantic_core import to_json

from ..models import Json
from .authoring import File
from .context import Context
from .sent import body_of

_LONGEST = 4096
"""Characters of a chunk that shows an item which is no text."""
_EVENTS = frozenset({"status", "notification"})
"""Types of Hayhooks' events for user interfaces; they are no part of an answer."""


_PLAIN = frozenset({str, dict, list, int, float, bool, type(None)})
"""What is no stream, at one look."""


class Taker(Protocol):
    """Who takes what a pipeline gives."""

    def take(self, item: Any) -> None:
        """One item of a stream. Raises `Stopped` if the run is to stop."""
        ...

    def joined(self) -> Any:
        """What all the items are together."""
        ...

    def value(self, value: Any) -> Any:
        """What a value is that came in one piece."""
        ...


def whole(value: Any, context: Context, *, text: bool = True) -> Any:
    """The value itself, or for a stream its items: text joined, anything else as a list.

    An empty stream is an empty text, or with `text` false an empty list. Otherwise as `consumed`.
    """
    return value if type(value) in _PLAIN else consumed(value, _Pieces(context, text))


async def whole_async(value: Any, context: Context, *, text: bool = True) -> Any:
    """The same for a value made on the event loop."""
    if type(value) is CoroutineType:  # nearly always
        value = cast(object, await value)
    return value if type(value) in _PLAIN else await consumed_async(value, _Pieces(context, text))


def consumed(value: Any, taker: Taker) -> Any:
    """What `taker` makes of a value, or of the items of a stream, which is closed however this ends.

    Blocks; raises what the stream raises, and `TypeError` for an async stream, which needs the event loop.
    """
    if type(value) in _PLAIN:
        return taker.value(value)
    value = _inside(value)
    if (body := body_of(value)) is not None:  # always async, whatever it was made of
        return asyncio.run(consumed_async(body, taker))
    if inspect.isawaitable(value) or isinstance(value, AsyncIterator):
        name = type(cast(object, value)).__name__
        raise TypeError(f"a plain function gave an {name}: make it `async def`, so that it runs on the loop")
    if not _is_stream(value):
        return taker.value(value)
    with ExitStack() as stack:
        if close := getattr(value, "close", None):
            stack.callback(close)
        for item in cast(Iterator[Any], value):
            taker.take(item)
    return taker.joined()


async def consumed_async(value: Any, taker: Taker) -> Any:
    """The same for a value made on the event loop; a plain stream is consumed in a thread."""
    if inspect.isawaitable(value):
        value = await value
    if type(value) in _PLAIN:
        return taker.value(value)
    value = _inside(value)
    value = value if (body := body_of(value)) is None else body
    if _is_stream(value):
        return await anyio.to_thread.run_sync(lambda: consumed(value, taker), abandon_on_cancel=True)
    if not isinstance(value, AsyncIterator):
        return taker.value(value)
    stream = cast(AsyncIterator[Any], value)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_close, stream)
        async for item in stream:
            taker.take(item)
    return taker.joined()


def _inside(value: Any) -> Any:
    """The stream in an `SSEStream` of Hayhooks."""
    return value.stream if type(value).__name__ == "SSEStream" else value


def _is_stream(value: Any) -> bool:
    """Generators and their kin; an open file is one value."""
    return isinstance(value, Iterator) and not isinstance(value, io.IOBase)


async def _close(stream: AsyncIterator[Any]) -> None:
    """End it even when the run was cancelled, but do not wait for it for ever."""
    if close := getattr(stream, "aclose", None):
        with anyio.move_on_after(1, shield=True):
            await close()


@dataclass
class _Pieces:
    """The items so far."""

    context: Context
    text: bool
    """Whether an empty stream is a text."""
    items: list[Any] = field(default_factory=list[Any])
    only_text: bool = True

    def take(self, item: Any) -> None:
        """Pass an item on and keep it. Raises `Stopped` if the run is to stop."""
        self.context.check()
        if item is None:
            return
        if display := displayed(item):
            said: Json = display["data"]
            text = said.get("description") or said.get("content") or display["type"]
            self.context.log("info", str(text))
            return
        if isinstance(item, File):  # nothing of it can be read in a stream
            self.only_text = False
            self.items.append(item)
            return
        text, source = _chunk(item)
        self.only_text = self.only_text and text is not None
        self.context.chunk(_shown(item) if text is None else text, source)
        self.items.append(item if text is None else text)

    def joined(self) -> Any:
        if not self.items:
            return "" if self.text else []
        if len(self.items) == 1 and isinstance(self.items[0], File):
            return self.items[0]
        return "".join(self.items) if self.only_text else self.items

    def value(self, value: Any) -> Any:
        return value


def _chunk(item: Any) -> tuple[str | None, str | None]:
    """Text and source of a piece of text: a string, Haystack's StreamingChunk, or OpenAI's chunk."""
    if isinstance(item, str):
        return item, None
    if isinstance(item, dict):
        return _openai(cast(Json, item)), None
    if isinstance(content := getattr(item, "content", None), str) and hasattr(item, "component_info"):
        return content, getattr(item.component_info, "name", None)
    if hasattr(item, "choices") and callable(getattr(item, "model_dump", None)):
        return _openai(item.model_dump()), None
    return None, None


def _openai(item: Json) -> str | None:
    """The text in a `chat.completion.chunk`; None if it is none."""
    choices = item.get("choices")
    if not isinstance(choices, list):
        return None
    deltas = [_part(choice, "delta") for choice in cast(list[Any], choices)]
    texts = [_part(delta, "content") for delta in deltas]
    return "".join(text for text in texts if isinstance(text, str))


def _part(value: Any, name: str) -> Any:
    return cast(Json, value).get(name) if isinstance(value, dict) else None


def displayed(item: Any) -> Json | None:
    """An event for a user interface, as `type` and `data`; None if the item is none."""
    given = item.to_event_dict() if callable(getattr(item, "to_event_dict", None)) else item
    if not isinstance(given, dict):
        return None
    event = cast(Json, given)
    if event.keys() != {"type", "data"} or not isinstance(event["data"], dict):
        return None
    return event if event["type"] in _EVENTS or given is not item else None


def _shown(item: Any) -> str:
    return to_json(item, inf_nan_mode="null", serialize_unknown=True).decode()[:_LONGEST]
