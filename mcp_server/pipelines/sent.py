"""HTTP responses of Starlette and FastAPI that a wrapper returns: what they would send is its value."""

from __future__ import annotations

import codecs
import mimetypes
from collections.abc import AsyncIterator
from email.message import Message
from typing import Any, cast

from .authoring import File

_TEXTS = ("text/", "application/json", "application/x-ndjson", "application/jsonl")


def body_of(value: Any) -> AsyncIterator[Any] | None:
    """The body of a `StreamingResponse`: text in pieces, anything else as one `File`; None for others."""
    stream: Any = getattr(value, "body_iterator", None)
    if not isinstance(stream, AsyncIterator) or not hasattr(value, "media_type"):
        return None
    kind = (value.media_type or value.headers.get("content-type", "text/plain")).partition(";")[0]
    body = cast(AsyncIterator[Any], stream)
    return _texts(body) if kind.startswith(_TEXTS) else _file(body, _name(value, kind), kind)


async def _texts(stream: AsyncIterator[Any]) -> AsyncIterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    async for piece in stream:
        yield piece if isinstance(piece, str) else decoder.decode(bytes(piece))
    yield decoder.decode(b"", final=True)


async def _file(stream: AsyncIterator[Any], name: str, kind: str) -> AsyncIterator[File]:
    pieces = [piece.encode() if isinstance(piece, str) else bytes(piece) async for piece in stream]
    yield File(name, b"".join(pieces), kind)


def _name(value: Any, kind: str) -> str:
    head = Message()
    head["Content-Disposition"] = value.headers.get("content-disposition", "")
    return head.get_filename() or f"file{mimetypes.guess_extension(kind) or ''}"
