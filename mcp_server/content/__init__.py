"""Turns whatever a pipeline returned into a `Result`: JSON made once, where the pipeline runs.

    __init__    render and failure: the whole, as MCP wants it
    encoder     any value as JSON, and the media found in it
    forms       one level of a value: models, dataclasses, mappings, files
    blocks      what authors make on purpose: Text, Image, Audio, Embedded, ResourceLink, Reply
    fitting     results that are too large to be shown
    libraries   the types of Haystack, numpy, pandas, matplotlib and PIL, known by name
    media       bytes and MCP content blocks

Light: knows neither the MCP SDK nor Haystack.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, cast

import orjson

from ..models import Json, Result
from .blocks import Reply
from .encoder import dump, encode, note, valid
from .libraries import spoken
from .media import InnerBlock, wire_block

_LONGEST_FAILURE = 4096  # bytes; clients cut errors at about 11 000 characters
_CUT = " … (cut)"
_RESULT = b'{"result":'
EMPTY = Result(content=b"[]", structured=None)
"""A result that is copied: what it gets was made here, and needs no validating."""


def render(value: object) -> Result:
    """The answer of a call. Never raises an `Exception`, and never shows a Python repr.

    `content` begins with a text: a string as it is, an answer or chat message of Haystack by its text,
    anything else as compact JSON. Media (images, sounds, files, bytes whose first bytes tell their type)
    follow as blocks of their own; `content[1] (image/png, 67 bytes)` stands for them in the JSON.
    `structured` is the JSON itself if it is an object, else `{"result": …}`. MCP content blocks, one or a
    list of nothing else, are the content as they are; unless they are dicts, there is then no structured
    content. A `Reply` says both, a `Result` is itself.
    """
    if isinstance(value, Result):
        return value
    if type(value) is str:
        return _said(value)
    try:
        if isinstance(value, Reply):
            return _replied(value)  # pyright: ignore[reportUnknownArgumentType]
        return _passed(value) or _rendered(value)
    except Exception:  # a dict that another thread changes, a subclass that breaks its own iteration
        return _rendered(note(value))  # pyright: ignore[reportUnknownArgumentType]


def failure(text: str) -> Result:
    """An error result with the reason; cut at 4 KB with a note that says so."""
    kept = valid(text[: _LONGEST_FAILURE + 1]).encode()
    if len(kept) > _LONGEST_FAILURE:
        kept = kept[: _LONGEST_FAILURE - len(_CUT.encode())] + _CUT.encode()
    return Result(content=dump([_text(kept.decode("utf-8", "ignore"))]), is_error=True)


def _rendered(value: object) -> Result:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return _said(value)
    data, found = encode(value)
    text = spoken(value)
    content = [_text(data.decode() if text is None else text), *found]
    return Result(content=dump(content), structured=_wrapped(data))


def _replied(reply: Reply[Any]) -> Result:
    content: list[Json] = []
    for item in reply.content:
        content += _shown(item, len(content))
    if reply.structured is None:
        return Result(content=dump(content))
    data, found = encode(reply.structured, len(content) or 1)
    content = content or [_text(data.decode())]
    return Result(content=dump([*content, *found]), structured=_wrapped(data))


def _shown(item: object, place: int) -> list[Json]:
    """The blocks of one item from `place` on: an image or a file alone, anything else with its text."""
    if isinstance(item, str):
        return [_text(valid(item))]
    if block := wire_block(item):
        return [block]
    data, found = encode(item, place + 1)
    if len(found) == 1 and _is_medium(orjson.loads(data)):
        return encode(item, place)[1]
    text = spoken(item)
    return [_text(data.decode() if text is None else text), *found]


def _is_medium(shown: object) -> bool:
    """True for what a single image or file leaves in JSON: its place, or an object that tells its type."""
    return isinstance(shown, str) or (isinstance(shown, dict) and "mime_type" in shown)


def _wrapped(data: bytes) -> bytes:
    return data if data.startswith(b"{") else _RESULT + data + b"}"


def _said(text: str) -> Result:
    """A string, escaped once: it may be 100 MB."""
    structured = dump({"result": text})
    escaped = memoryview(structured)[len(_RESULT) : -1]
    content = b"".join((b'[{"type":"text","text":', escaped, b"}]"))
    return EMPTY.model_copy(update={"content": content, "structured": structured})


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _passed(value: object) -> Result | None:
    """The result if the value is nothing but MCP content blocks, else None."""
    values = cast(list[object], value if isinstance(value, list | tuple) else [value])
    blocks: list[Json] = []
    for item in values:
        block = wire_block(item)
        if block is None:
            return None
        blocks.append(block)
    if not blocks:
        return None
    if not all(isinstance(item, dict) for item in values):
        return Result(content=dump(blocks))
    left = [InnerBlock(block).left(index) for index, block in enumerate(blocks)]
    return Result(
        content=dump(blocks), structured=dump(left[0] if isinstance(value, dict) else {"result": left})
    )
