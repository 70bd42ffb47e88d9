"""What front and host say to each other, as bytes: kinds of frames, and the payloads that are no plain JSON.

RUN is the id of a run, what is told about it, then its inputs; what many runs have alike is the same bytes,
which both ends remember. ENDED is what kind of result it is, then the JSON texts of the result and its
artifacts side by side. So the inputs are written once and parsed once, and neither end looks into a result.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from itertools import accumulate, pairwise
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from ...content import EMPTY
from ...content.encoder import dump
from ...models import Artifact, Caller, Client, Json, Replay, Result, Run

Bytes = bytes | bytearray

RUN = struct.Struct(">BHId")
"""Flags, bytes of the id and of what is told about it, when it began."""
_ODD, _OWN = 1, 2
"""Whether the inputs need Python's own parser; whether what is told is of this run alone."""
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


ALIKE = ("pipeline", "version", "digest", "verb", "timeout")
"""What many runs have alike, as their callers."""
alike_of = itemgetter(*ALIKE)
_BLANK = Run(id="", pipeline="", version=0, digest="", inputs={}, timeout=0, started=0)


def pack_run(run: Run) -> tuple[bytes, ...]:
    """The payload of a RUN frame."""
    flags, client, caller, identity = 0, run.client, run.caller, run.id.encode()
    alike = alike_of(vars(run)), caller.name, caller.origin, caller.scopes
    if client.capabilities or client.headers or client.trace or client.uploads or run.replay is not None:
        flags, about = _OWN, orjson.dumps({**_told(*alike), "client": client, "replay": run.replay}, _as_json)
    else:
        about = _alike(*alike)
    try:
        inputs = orjson.dumps(run.inputs)
    except orjson.JSONEncodeError:  # integers beyond 64 bits, texts that are no valid Unicode
        flags, inputs = flags | _ODD, json.dumps(run.inputs).encode()
    return RUN.pack(flags, len(identity), len(about), run.started), identity, about, inputs


def unpack_run(payload: Bytes) -> Run:
    """The inverse of `pack_run`: what a host needs of the run. Trusted, so only its models are made again."""
    flags, named, size, started = RUN.unpack_from(payload)
    begin, view = RUN.size + named, memoryview(payload)
    about, text = bytes(view[begin : begin + size]), view[begin + size :]
    inputs: Json = json.loads(bytes(text)) if flags & _ODD else orjson.loads(text)
    blank = _made(about) if flags & _OWN else _blank(about)
    own = {"id": bytes(view[RUN.size : begin]).decode(), "started": started, "inputs": inputs}
    return blank.model_copy(update=own)


def _told(same: tuple[Any, ...], name: str, origin: str, scopes: frozenset[str]) -> Json:
    """What a host hears of a run beside what it has for itself."""
    caller = {"name": name, "origin": origin, "scopes": sorted(scopes)}
    return {**dict(zip(ALIKE, same, strict=True)), "caller": caller}


@lru_cache(maxsize=256)
def _alike(same: tuple[Any, ...], name: str, origin: str, scopes: frozenset[str]) -> bytes:
    return orjson.dumps(_told(same, name, origin, scopes))


def _made(about: bytes) -> Run:
    """A run of which only that is known."""
    told: Json = orjson.loads(about)
    told["caller"] = Caller(**told["caller"])
    if client := told.pop("client", None):
        told["client"] = Client(**client)
    if replay := told.pop("replay", None):
        told["replay"] = Replay(**replay)
    return _BLANK.model_copy(update=told)


_blank = lru_cache(maxsize=256)(_made)


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
