"""What a resource, a prompt or a completion gave, in the wire form of MCP's server features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from ..content.encoder import dump, encode, valid
from ..content.forms import form
from ..content.media import Media, sniff, wire_block
from ..models import Json, Result

_BINARY = "application/octet-stream"
_JSON = "application/json"
_PLAIN = "text/plain"


def contents(value: Any, uri: str, mime_type: str | None) -> Result:
    """The contents of the resource `uri`; a list of texts, bytes and files is several.

    `mime_type` is the declared one, which wins over what the value says of itself.
    """
    items = cast(list[Any], value if isinstance(value, list | tuple) else [])
    several = bool(items) and all(map(_is_content, items))
    parts: list[Any] = items if several else [value]
    return Result(content=dump([_content(part, uri, mime_type) for part in parts]))


def messages(value: Any) -> Result:
    """The messages of a prompt: MCP has one content in each, and the roles `user` and `assistant`."""
    items = cast(list[Any], value if isinstance(value, list | tuple) else [value])
    return Result(content=dump([message for item in items for message in _messages(item)]))


def suggestions(value: Iterable[Any]) -> Result:
    """The values that complete an argument."""
    return Result(content=dump([str(each) for each in value]))


def fitting(choices: list[str], typed: str) -> list[str]:
    """The choices that begin with what was typed, then those that hold it; case does not matter."""
    wanted = typed.casefold()
    held = [choice for choice in choices if wanted in choice.casefold()]
    return sorted(held, key=lambda choice: not choice.casefold().startswith(wanted))


def _is_content(value: Any) -> bool:
    return isinstance(value, str) or _medium(value) is not None


def _content(value: Any, uri: str, mime_type: str | None) -> Json:
    if isinstance(value, str):
        return {"uri": uri, "mimeType": mime_type or _PLAIN, "text": valid(value)}
    medium = _medium(value)
    if medium is None:
        data, _ = encode(value)
        return {"uri": uri, "mimeType": mime_type or _JSON, "text": data.decode()}
    mime_type = mime_type or medium.mime_type
    block = Media(medium.data, mime_type).block(0)
    body = block["resource"] if "resource" in block else {"blob": block["data"]}
    return {**body, "uri": uri, "mimeType": mime_type}


def _medium(value: Any) -> Media | None:
    """The bytes of a value that is nothing but a file: bytes, a `File`, an image or stream of Haystack."""
    if isinstance(value, bytes):
        return Media(value, sniff(value) or _BINARY)
    try:
        shaped: Any = form(value)
    except Exception:  # a value's own code: properties, serializers, iterators of any library
        return None
    parts = cast(Mapping[str, Any], shaped).values() if isinstance(shaped, Mapping) else [shaped]
    return next((part for part in parts if isinstance(part, Media)), None)


def _messages(item: Any) -> list[Json]:
    role, parts = _said(item)
    return [{"role": role, "content": block} for part in parts for block in _blocks(part)]


def _said(item: Any) -> tuple[str, list[Any]]:
    """Who says a message and its parts: of Haystack, of the SDK, an object in wire form, else the user."""
    if (parts := getattr(item, "_content", None)) is not None and hasattr(item, "role"):
        return _role(item.role), list(parts)
    if isinstance(item, BaseModel) and {"role", "content"} <= type(item).model_fields.keys():
        item = item.model_dump(mode="json", by_alias=True, exclude_none=True)
    wire = cast(Json, item) if isinstance(item, dict) else {}
    if {"role", "content"} <= wire.keys():
        content = wire["content"]
        return _role(wire["role"]), cast(list[Any], content if isinstance(content, list) else [content])
    return "user", [item]


def _role(role: object) -> str:
    """A system message becomes one of the user: MCP's prompts have no other place for it."""
    return "assistant" if role == "assistant" else "user"


def _blocks(part: Any) -> list[Json]:
    """A part of a message as content blocks; what is neither text nor media as JSON."""
    text = part if isinstance(part, str) else getattr(part, "text", None)
    if block := wire_block(part):
        return [block]
    if isinstance(text, str):
        return [{"type": "text", "text": valid(text)}]
    if medium := _medium(part):
        return [medium.block(0)]
    data, found = encode(part)
    return [{"type": "text", "text": data.decode()}, *found]
