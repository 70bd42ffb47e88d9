"""Content blocks for authors: what a result shows beside its structured value, or instead of it.

Each becomes the block of the same kind in MCP's specification (2025-11-25, server features, tools).
"""

from __future__ import annotations

import base64
import mimetypes
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from ..models import Json
from .media import Block, Media, sniff

Role = Literal["user", "assistant"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class AnnotatedBlock(Block):
    """What blocks have in common: for whom they are, and how much they matter, from 0 to 1.

    Raises `ValueError` for an audience or a priority that MCP does not know.
    """

    audience: Role | tuple[Role, ...] = ()
    priority: float | None = None

    def __post_init__(self) -> None:
        if not set(self._roles) <= {"user", "assistant"}:
            raise ValueError("the audience of a block is `user`, `assistant` or both")
        if self.priority is not None and not 0 <= self.priority <= 1:
            raise ValueError("the priority of a block is a number from 0 to 1")

    def wire(self) -> Json:
        """See `Block.wire`."""
        about: Json = {"audience": list(self._roles)} if self._roles else {}
        about |= {} if self.priority is None else {"priority": self.priority}
        return {**self._body(), **({"annotations": about} if about else {})}

    @property
    def _roles(self) -> tuple[Role, ...]:
        return (self.audience,) if isinstance(self.audience, str) else self.audience

    @abstractmethod
    def _body(self) -> Json: ...

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Goes out as it is, in any model of an author; no caller can send one."""
        return core_schema.is_instance_schema(cls)


@dataclass(frozen=True)
class Text(AnnotatedBlock):
    """A text of its own, such as a note that only the person is to see."""

    text: str

    def _body(self) -> Json:
        return {"type": "text", "text": self.text}


@dataclass(frozen=True)
class Image(AnnotatedBlock):
    """An image by its bytes; its type is told by the first of them unless given."""

    data: bytes = field(repr=False)
    mime_type: str | None = None

    def _body(self) -> Json:
        return _media("image", self.data, self.mime_type or sniff(self.data) or "image/png")


@dataclass(frozen=True)
class Audio(AnnotatedBlock):
    """A sound by its bytes; its type is told by the first of them unless given."""

    data: bytes = field(repr=False)
    mime_type: str | None = None

    def _body(self) -> Json:
        return _media("audio", self.data, self.mime_type or sniff(self.data) or "audio/wav")


@dataclass(frozen=True)
class Embedded(AnnotatedBlock):
    """A resource with its content, a text or bytes; its type is guessed from the address unless given."""

    uri: str
    content: str | bytes = field(repr=False)
    mime_type: str | None = None

    def _body(self) -> Json:
        plain = "text/plain" if isinstance(self.content, str) else "application/octet-stream"
        mime_type = self.mime_type or mimetypes.guess_type(self.uri)[0] or plain
        if isinstance(self.content, bytes):
            resource = Media(self.content, mime_type).resource(self.uri)
        else:
            resource = {"uri": self.uri, "mimeType": mime_type, "text": self.content}
        return {"type": "resource", "resource": resource}


@dataclass(frozen=True)
class ResourceLink(AnnotatedBlock):
    """A resource by its address, to be read when it is wanted; `size` is in bytes."""

    uri: str
    name: str
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None
    size: int | None = None

    def _body(self) -> Json:
        about = {
            "title": self.title,
            "description": self.description,
            "mimeType": self.mime_type,
            "size": self.size,
        }
        given = {key: value for key, value in about.items() if value is not None}
        return {"type": "resource_link", "uri": self.uri, "name": self.name, **given}


class Reply(Generic[T]):
    """A result that says what is shown: any blocks, texts and values in order, and apart from them the
    structured value for programs.

        def run_api(self, city: str) -> Reply[Forecast]:
            return Reply("Rain until noon.", Image(radar), structured=Forecast(rain=True))

    Without `structured` there is no structured content, so annotate plain `Reply`.
    """

    def __init__(self, *content: Any, structured: T | None = None) -> None:
        self.content = content
        self.structured = structured


def _media(kind: str, data: bytes, mime_type: str) -> Json:
    return {"type": kind, "data": base64.b64encode(data).decode(), "mimeType": mime_type}
