"""What front and host say to each other, as bytes: kinds of frames, and the payloads that are no plain JSON.

RUN is a run without its inputs, then the inputs; ENDED is what kind of result it is, then the JSON texts of
the result and its artifacts side by side. So the inputs are written once and parsed once, and neither end
looks into a result.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate, pairwise
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from ...content import EMPTY
from ...content.encoder import dump
from ...models import Artifact, Caller, Client, Json, Replay, Result, Run

Bytes = bytes | bytearray

RUN = struct.Struct(">I?")
"""Bytes of the head, and whether the inputs need Python's own parser."""
ENDED = struct.Struct(">BIII")
"""Flags, bytes of the head, of the content, of the structured content."""
_ERROR, _REFUSED, _PARTIAL, _STRUCTURED, _SAID = 1, 2, 4, 8, 16
_LONG = 16 * 1024
"""Bytes from which on a text that is the structured content, too, is sent once."""
_TEXT, _CLOSED, _RESULT = b'[{"type":"text","text":', b"}]", b'{"result":'


class Kind(IntEnum):
    """What a frame means; the first group goes to the host, the second comes back."""

    LOAD = 1  # a Member
    RUN = 2  # a Run
    STOP = 3  # stop the work of this call
    CLOSE = 4  # close the pipeline named in the payload
    END = 5  # close everything and exit
    ANSWER = 6  # the number of a question of this call, and its answers
    PING = 7  # asks whether the event loop is well

    LOADED = 16  # a Manifest
    BROKEN = 17  # a Problem
    EVENT = 18  # an Event
    ENDED = 19  # a Result; the call's work is over
    PONG = 20  # it is


KINDS: Mapping[int, Kind] = MappingProxyType({int(kind): kind for kind in Kind})


_PLAIN = ("id", "pipeline", "version", "digest", "verb", "timeout", "started")
"""What a host hears of a run beside its inputs, its caller, client and replay."""
_CALLER = Caller()
_BLANK = Run(id="", pipeline="", version=0, digest="", inputs={}, timeout=0, started=0)


def pack_run(run: Run) -> tuple[bytes, ...]:
    """The payload of a RUN frame."""
    fields, caller = vars(run), run.caller
    told: Json = {name: fields[name] for name in _PLAIN}
    told["caller"] = (caller.name, caller.origin, [*caller.scopes])
    client = run.client
    if client.capabilities or client.headers or client.trace or client.uploads:
        told["client"] = client
    if run.replay is not None:
        told["replay"] = run.replay
    head = orjson.dumps(told, _as_json)
    try:
        inputs, odd = orjson.dumps(run.inputs), False
    except orjson.JSONEncodeError:  # integers beyond 64 bits, texts that are no valid Unicode
        inputs, odd = json.dumps(run.inputs).encode(), True
    return RUN.pack(len(head), odd), head, inputs


def unpack_run(payload: Bytes) -> Run:
    """The inverse of `pack_run`: what a host needs of the run. Trusted, so only its models are made again."""
    size, odd = RUN.unpack_from(payload)
    start, view = RUN.size + size, memoryview(payload)
    told: Json = orjson.loads(view[RUN.size : start])
    told["inputs"] = json.loads(bytes(view[start:])) if odd else orjson.loads(view[start:])
    name, origin, scopes = told["caller"]
    told["caller"] = _caller(name, origin, tuple(scopes))
    if client := told.get("client"):
        told["client"] = Client(**client)
    if replay := told.get("replay"):
        told["replay"] = Replay(**replay)
    return _BLANK.model_copy(update=told)


@lru_cache(maxsize=256)
def _caller(name: str, origin: str, scopes: tuple[str, ...]) -> Caller:
    return _CALLER.model_copy(update={"name": name, "origin": origin, "scopes": frozenset(scopes)})


def _as_json(value: Any) -> Any:
    """A model as its fields; what else pydantic writes as text."""
    return {**vars(value)} if isinstance(value, BaseModel) else to_jsonable_python(value)


def pack_result(result: Result) -> tuple[bytes, ...]:
    """The payload of an ENDED frame."""
    flags = _ERROR * result.is_error | _REFUSED * result.refused | _PARTIAL * result.partial
    flags |= _STRUCTURED * (result.structured is not None)
    content, structured, left = result.content, result.structured or b"", result.artifacts
    if len(structured) > _LONG and _is_said(content, structured):
        flags, content = flags | _SAID, b""
    head = _more(result) if left or result.fault else b""
    sizes = ENDED.pack(flags, len(head), len(content), len(structured))
    return sizes, head, content, structured, *(each.content for each in left)


def _is_said(content: bytes, structured: bytes) -> bool:
    """True if the content is one text, which the structured content holds as `result`."""
    around = len(_TEXT) + len(_CLOSED) - len(_RESULT) - 1
    same_form = content.startswith(_TEXT) and structured.startswith(_RESULT)
    if not same_form or len(content) - len(structured) != around:
        return False
    return content.startswith(structured[len(_RESULT) : -1], len(_TEXT))


def unpack_result(payload: Bytes) -> Result:
    """The inverse of `pack_result`."""
    flags, *sizes = ENDED.unpack_from(payload)
    if not sizes[0] and flags in (0, _STRUCTURED):  # nearly all
        middle = ENDED.size + sizes[1]
        structured = bytes(payload[middle:]) if flags else None
        return EMPTY.model_copy(
            update={"content": bytes(payload[ENDED.size : middle]), "structured": structured}
        )
    view = memoryview(payload)
    edges = [*accumulate(sizes, initial=ENDED.size)]
    head, content, structured = (bytes(view[begin:end]) for begin, end in pairwise(edges))
    if flags & _SAID:
        flags, content = (
            flags - _SAID,
            b"".join((_TEXT, view[edges[2] + len(_RESULT) : edges[3] - 1], _CLOSED)),
        )
    more: Json = orjson.loads(head) if head else {}
    return Result(
        content=content,
        structured=structured if flags & _STRUCTURED else None,
        is_error=bool(flags & _ERROR),
        refused=bool(flags & _REFUSED),
        partial=bool(flags & _PARTIAL),
        fault=more.get("fault"),
        artifacts=tuple(_artifacts(more, view[edges[-1] :])),
    )


def _more(result: Result) -> bytes:
    """What few results have: a fault, artifacts."""
    about: list[Any] = [(each.name, each.mime_type, len(each.content)) for each in result.artifacts]
    return dump({"fault": result.fault and result.fault.model_dump(), "artifacts": about})


def _artifacts(more: Json, texts: memoryview) -> Iterator[Artifact]:
    start = 0
    for name, mime_type, size in more.get("artifacts", ()):
        yield Artifact(name=name, mime_type=mime_type, content=bytes(texts[start : start + size]))
        start += size
