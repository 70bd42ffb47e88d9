"""Haystack's values as a client writes them: documents, chat messages, files. Each makes the real one."""

from __future__ import annotations

import base64
import binascii
import mimetypes
from pathlib import Path
from typing import Any, Literal

from haystack.dataclasses import ByteStream, ChatMessage, Document
from pydantic import BaseModel, ConfigDict, Field

from ..models import Json
from .uploads import lent, placed, sent


class FileInput(BaseModel):
    """A file: its text in `text`, its bytes in base64 in `data`, or its address in `uri`."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, description="File name, without a folder.")
    mime_type: str | None = Field(None, description="Its type; guessed from the name if left out.")
    text: str | None = None
    data: str | None = Field(None, json_schema_extra={"contentEncoding": "base64"})
    uri: str | None = Field(None, description="Address of an artifact of a run, `run://…`.")
    meta: Json = Field(default_factory=dict, description="What is known about it.")

    def made(self) -> ByteStream:
        """The bytes. The name becomes `file_path`, where Haystack looks for one. Raises `ValueError`."""
        source, name = self._source(), self._name()
        content = source if isinstance(source, bytes) else source.read_bytes()
        meta = {**self.meta, "file_path": name} if name else self.meta
        return ByteStream(content, meta=meta, mime_type=self._type())

    def path(self) -> Path:
        """A file that is there while the call runs. Raises `ValueError`."""
        source = self._source()
        return source if isinstance(source, Path) else placed(self._name(), source)

    def lent(self, kind: type[Any]) -> Any:
        """The file, open, as `kind` of UploadFile. Raises `ValueError`."""
        return lent(kind, self.name or "file", self._type(), self._source())

    def _name(self) -> str:
        """Its name without folders."""
        return (self.name or "").replace("\\", "/").rpartition("/")[2]

    def _type(self) -> str | None:
        return self.mime_type or mimetypes.guess_type(self._name())[0]

    def _source(self) -> Path | bytes:
        """Where the content is: a path only of a file that came with the call."""
        if sum(each is not None for each in (self.text, self.data, self.uri)) != 1:
            raise ValueError("give either `text` or base64 `data`, or the `uri` of a file")
        return self._content() if self.uri is None else sent(self.uri).path

    def _content(self) -> bytes:
        if self.data is None:
            return (self.text or "").encode()
        try:
            return base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise ValueError("`data` is not base64") from error


class DocumentInput(BaseModel):
    """A document."""

    model_config = ConfigDict(extra="forbid")

    content: str | None = Field(None, description="Its text.")
    meta: Json = Field(default_factory=dict, description="What is known about it.")
    id: str = Field("", description="Made from the content if left out.")
    score: float | None = None
    embedding: list[float] | None = None
    blob: FileInput | None = None

    def made(self) -> Document:
        """The Haystack document."""
        return Document(
            id=self.id,
            content=self.content,
            meta=self.meta,
            score=self.score,
            embedding=self.embedding,
            blob=self.blob and self.blob.made(),
        )


class MessageInput(BaseModel):
    """A chat message."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant", "system", "tool"]
    content: str | list[Json] = Field(description='Its text, or parts such as {"text": "…"}.')
    name: str | None = None
    meta: Json = Field(default_factory=dict)

    def made(self) -> ChatMessage:
        """The Haystack message; the parts may be Haystack's or OpenAI's. Raises `ValueError`."""
        parts = self.content if isinstance(self.content, list) else []
        message: Json = {"role": self.role, "content": self.content}
        try:
            if any("type" in part for part in parts):
                return ChatMessage.from_openai_dict_format(message)
            return ChatMessage.from_dict({**message, "name": self.name, "meta": self.meta})
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("a content part has a shape that is not known") from error
