"""Types of other libraries, known by name: nothing is imported to recognise them.

Whoever returns a DataFrame has imported pandas. A form is one level deep, as in `forms`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from .media import Media, sniff

Form = Callable[[Any], object]


def known(kind: type) -> Form | None:
    """What gives values of `kind`, or of a class it derives from, their form."""
    for base in kind.__mro__:
        if found := _FORMS.get(f"{base.__module__}.{base.__qualname__}"):
            return found
    return None


def spoken(value: object) -> str | None:
    """The text of an answer, where its type has one; None for every other value."""
    names = (f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__)
    field = next((_SPOKEN[name] for name in names if name in _SPOKEN), None)
    text = getattr(value, field, None) if field else None
    return text if isinstance(text, str) else None


def _document(value: Any) -> object:
    """Without the embedding: numbers no reader wants."""
    shown = {"id": value.id, "content": value.content, "meta": value.meta}
    if value.score is not None:
        shown["score"] = value.score
    if value.blob is not None:
        shown["blob"] = value.blob
    return shown


def _message(value: Any) -> object:
    parts = [_part(part) for part in value._content]
    only_text = len(parts) == 1 and value.text is not None
    shown = {"role": value.role, "content": value.text if only_text else parts, "meta": value.meta}
    return {**shown, "name": value.name} if value.name else shown


def _part(part: Any) -> object:
    """Keyed by kind, as Haystack itself writes it; text as `{"text": …}`."""
    key = _PARTS.get(type(part).__name__)
    return {key: part} if key else part


def _byte_stream(value: Any) -> object:
    mime_type = value.mime_type or sniff(value.data)
    name = value.meta.get("file_name") or value.meta.get("name")
    data = Media(value.data, mime_type, name if isinstance(name, str) else None) if mime_type else value.data
    return {"data": data, "mime_type": mime_type, "meta": value.meta}


def _image_content(value: Any) -> object:
    data = base64.b64decode(value.base64_image, validate=True)
    mime_type = value.mime_type or sniff(data) or "image/png"
    return {"base64_image": Media(data, mime_type), "mime_type": mime_type, "meta": value.meta}


def _file_content(value: Any) -> object:
    data = base64.b64decode(value.base64_data, validate=True)
    mime_type = value.mime_type or sniff(data) or "application/octet-stream"
    shown = {"base64_data": Media(data, mime_type, value.filename), "mime_type": mime_type}
    return {**shown, "filename": value.filename, "extra": value.extra}


def _response(value: Any) -> object:
    """A response of Starlette or FastAPI: what is in its body, or the file it names."""
    kind = (value.media_type or value.headers.get("content-type", "")).partition(";")[0]
    path, name = getattr(value, "path", None), getattr(value, "filename", None)
    body = Path(path).read_bytes() if path else bytes(value.body)
    if kind == "application/json" and not name:
        return orjson.loads(body or b"null")
    if kind.startswith("text/") and not path:
        return body.decode(errors="replace")
    return Media(body, kind or "application/octet-stream", name or (Path(path).name if path else None))


def _array(value: Any) -> object:
    """Arrays and scalars of numpy: dates as dates, floats as short as numpy prints them, NaN as null."""
    kind = value.dtype.kind
    if kind in "mM":  # microseconds, as datetime has them; nanoseconds would become bare numbers
        return value.astype(f"{kind}8[us]").tolist()
    if kind != "f":
        return value.tolist()
    exact = value.astype("f8") if value.dtype.itemsize > 8 else value.copy()
    return orjson.loads(orjson.dumps(exact[()], option=orjson.OPT_SERIALIZE_NUMPY))


def _frame(value: Any) -> object:
    """A table as records; an index that says something becomes columns."""
    if type(value.index).__name__ != "RangeIndex":
        value = value.reset_index(allow_duplicates=True)
    names = unique(value.columns)
    columns = [value.iloc[:, place].tolist() for place in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _series(value: Any) -> object:
    if type(value.index).__name__ == "RangeIndex":
        return value.tolist()
    return dict(zip(unique(value.index), value.tolist(), strict=True))


def unique(names: Any) -> list[object]:
    """The same names in order; a repeated one is numbered, so that nothing gets lost."""
    taken: dict[object, None] = {}
    for name in names:
        count, free = 2, name
        while free in taken:
            count, free = count + 1, f"{name} ({count})"
        taken[free] = None
    return list(taken)


def _figure(value: Any) -> object:
    image = io.BytesIO()
    value.savefig(image, format="png")
    return Media(image.getvalue(), "image/png")


def _picture(value: Any) -> object:
    image = io.BytesIO()
    kept = value if value.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16") else value.convert("RGB")
    kept.save(image, format="PNG")
    return Media(image.getvalue(), "image/png")


def _nothing(value: Any) -> object:
    return None


_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "ToolCall": "tool_call",
        "ToolCallResult": "tool_call_result",
        "ImageContent": "image",
        "FileContent": "file",
        "ReasoningContent": "reasoning",
    }
)
_SPOKEN: Mapping[str, str] = MappingProxyType(
    {
        "haystack.dataclasses.answer.GeneratedAnswer": "data",
        "haystack.dataclasses.answer.ExtractedAnswer": "data",
        "haystack.dataclasses.chat_message.ChatMessage": "text",
        "haystack.dataclasses.streaming_chunk.StreamingChunk": "content",
    }
)
_FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "haystack.dataclasses.byte_stream.ByteStream": _byte_stream,
        "haystack.dataclasses.chat_message.ChatMessage": _message,
        "haystack.dataclasses.document.Document": _document,
        "haystack.dataclasses.file_content.FileContent": _file_content,
        "haystack.dataclasses.image_content.ImageContent": _image_content,
        "matplotlib.figure.Figure": _figure,
        "numpy.generic": _array,
        "numpy.ndarray": _array,
        "pandas.DataFrame": _frame,
        "pandas.Series": _series,
        "pandas._libs.missing.NAType": _nothing,
        "pandas._libs.tslibs.nattype.NaTType": _nothing,
        "pandas.api.typing.NAType": _nothing,
        "pandas.api.typing.NaTType": _nothing,
        "pandas.core.frame.DataFrame": _frame,
        "pandas.core.series.Series": _series,
        "PIL.Image.Image": _picture,
        "starlette.responses.FileResponse": _response,
        "starlette.responses.Response": _response,
    }
)
