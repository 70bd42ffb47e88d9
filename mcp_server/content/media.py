"""Media: bytes and MCP content blocks that stand beside the JSON of a result instead of in it."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast
from urllib.parse import quote

from pydantic import BaseModel

from ..models import Json

_TEXTUAL = ("text/", "application/json", "application/xml", "application/yaml", "image/svg+xml")
_ALWAYS = frozenset({"type", "annotations", "_meta"})
_BLOCKS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = MappingProxyType(
    {
        "text": (frozenset({"text"}), frozenset()),
        "image": (frozenset({"data", "mimeType"}), frozenset()),
        "audio": (frozenset({"data", "mimeType"}), frozenset()),
        "resource": (frozenset({"resource"}), frozenset()),
        "resource_link": (
            frozenset({"uri", "name"}),
            frozenset({"title", "description", "mimeType", "size", "icons"}),
        ),
    }
)
"""The content blocks of MCP 2025-11-25 and 2026-07-28: their keys, required and optional."""


class Block(ABC):
    """A content block that an author made; see `blocks`."""

    @abstractmethod
    def wire(self) -> Json:
        """The block as MCP writes it."""


@dataclass(frozen=True)
class Media:
    """Bytes of a known type; `name` is a file name, without a folder."""

    data: bytes
    mime_type: str
    name: str | None = None

    def block(self, index: int) -> Json:
        """The MCP content block that carries it, at place `index` of the content."""
        for kind in ("image", "audio"):
            if self.mime_type.startswith(f"{kind}/") and not self.mime_type.startswith(_TEXTUAL):
                return {"type": kind, "data": _base64(self.data), "mimeType": self.mime_type}
        uri = f"result:///{index}/{quote(self.name or 'file', safe='', errors='replace')}"
        return {"type": "resource", "resource": self.resource(uri)}

    def resource(self, uri: str) -> Json:
        """MCP's resource contents under that address: a text where it is one, else base64."""
        about: Json = {"uri": uri, "mimeType": self.mime_type}
        if self.mime_type.startswith(_TEXTUAL):
            try:
                return {**about, "text": self.data.decode()}
            except UnicodeDecodeError:
                pass
        return {**about, "blob": _base64(self.data)}


def placeholder(index: int, mime_type: str, size: int) -> str:
    """What stands in the JSON where media was: the index of its content block, type and size in bytes."""
    return f"content[{index}] ({mime_type}, {size} bytes)"


def sniff(data: bytes) -> str | None:
    """The type of an image, sound or PDF by its first bytes; None if they say nothing."""
    for start, mime_type in _MAGIC:
        if data.startswith(start):
            return mime_type
    if data[:4] == b"RIFF":
        return _RIFF.get(data[8:12])
    return None


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"%PDF-", "application/pdf"),
)
_RIFF: Mapping[bytes, str] = MappingProxyType({b"WEBP": "image/webp", b"WAVE": "audio/wav"})


def wire_block(value: object) -> Json | None:
    """The MCP content block that `value` is (ours, a model of the SDK, a dict in wire form), else None."""
    if isinstance(value, Block):
        return value.wire()
    if isinstance(value, BaseModel):
        if not type(value).__module__.startswith(("mcp_types", "mcp.types")):
            return None
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not isinstance(value, dict):
        return None
    block: Json = value  # pyright: ignore[reportUnknownVariableType] - _is_block looks at keys and values
    return block if _is_block(block) else None


def _is_block(block: Json) -> bool:
    kind = block.get("type")
    required, optional = _BLOCKS.get(kind, (None, None)) if isinstance(kind, str) else (None, None)
    if required is None or optional is None or not required <= block.keys() <= required | optional | _ALWAYS:
        return False
    if kind == "resource":
        resource: Any = block["resource"]
        return isinstance(resource, dict) and _is_resource(cast(Json, resource))
    return all(isinstance(block[key], str) for key in required)


def _is_resource(resource: Json) -> bool:
    keys = resource.keys()
    bodies = keys & {"text", "blob"}
    known = keys <= {"uri", "mimeType", "_meta", "text", "blob"}
    return known and len(bodies) == 1 and all(isinstance(resource.get(key), str) for key in ("uri", *bodies))


@dataclass(frozen=True)
class InnerBlock:
    """An MCP content block met inside a result, in wire form."""

    block: Json

    def left(self, index: int) -> Json:
        """The block without its bytes, which stand at `index` of the content: its form stays."""
        if self.block["type"] != "resource":
            return _emptied(self.block, "data", index)
        return {**self.block, "resource": _emptied(self.block["resource"], "blob", index)}


def _emptied(holder: Json, key: str, index: int) -> Json:
    if key not in holder:
        return holder
    text: str = holder[key]
    size = len(text) * 3 // 4 - text[-2:].count("=")
    return {**holder, key: placeholder(index, holder.get("mimeType", "application/octet-stream"), size)}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
