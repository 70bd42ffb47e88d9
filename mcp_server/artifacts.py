"""What runs left beside their answers, kept for a while: bounded in number, bytes and age.

An artifact's address is `run://{run id}/artifacts/{name}`; with `?offset={bytes}` it is read from there.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import unquote

from .errors import NotFound
from .models import Artifact, Caller, Json, Run

TEMPLATE = "run://{run_id}/artifacts/{name}{?offset}"
"""The resource template of artifacts (RFC 6570)."""
PART = 512 * 1024
"""Bytes given at once; as JSON at most 3 MiB, for clients end a connection over larger messages."""
NEXT = "haystack-mcp-server/next"
"""Where a part says in `_meta` from which address the rest is read."""

KEPT = 1000
"""Artifacts that are kept; the oldest go first."""
BYTES = 64 * 1024 * 1024
"""Bytes of all of them. What history keeps is read there when it has gone from here."""
AGE = 3600.0
"""Seconds each is kept."""

_ADDRESS = re.compile(r"run://([0-9a-f]+)/artifacts/([^/?#]+)(?:\?offset=([0-9]{1,15}))?")


@dataclass(frozen=True)
class Part:
    """A piece of an artifact: its bytes from `offset`, as many as are given at once."""

    run: str
    artifact: Artifact
    offset: int = 0
    size: int = PART

    @property
    def is_text(self) -> bool:
        """True if the type says that it is text; all text is UTF-8."""
        return self.artifact.mime_type.startswith("text/") or self.artifact.mime_type == "application/json"

    @property
    def content(self) -> bytes:
        """The bytes; a text ends between two characters."""
        return self.artifact.content[self.offset : self._end]

    @property
    def next(self) -> str | None:
        """The address of the rest, None if this is the last part."""
        done = self._end >= len(self.artifact.content)
        return None if done else f"{self.artifact.uri(self.run)}?offset={self._end}"

    def wire(self, uri: str) -> Json:
        """The part as MCP's resource contents, under the address it was asked for by."""
        about: Json = {"uri": uri, "mimeType": self.artifact.mime_type}
        if self.next:
            about["_meta"] = {NEXT: self.next}
        if self.is_text:
            return {**about, "text": self.content.decode("utf-8", "replace")}
        return {**about, "blob": b64encode(self.content).decode()}

    @property
    def _end(self) -> int:
        content, end = self.artifact.content, self.offset + self.size
        while self.is_text and end < len(content) and content[end] & 0xC0 == 0x80:
            end -= 1
        return end


@dataclass(frozen=True)
class Address:
    """Where an artifact is read."""

    uri: str
    run: str
    name: str
    offset: int

    @classmethod
    def of(cls, uri: str) -> Address:
        """What the text says. Raises `NotFound` for one that is no address."""
        if (found := _ADDRESS.fullmatch(uri)) is None:
            raise unknown(uri)
        run, name, offset = found.groups()
        return cls(uri, run, unquote(name), int(offset or 0))

    def part(self, artifact: Artifact, size: int) -> Part:
        """What is there. Raises `NotFound` for an offset beyond the end."""
        if self.offset > len(artifact.content):
            raise unknown(self.uri)
        return Part(self.run, artifact, self.offset, size)


def unknown(uri: str) -> NotFound:
    """The refusal of an address."""
    return NotFound(f"There is no artifact {uri[:200]}, or not any more.")


@dataclass(frozen=True)
class _Kept:
    artifact: Artifact
    owner: str
    since: float


class Artifacts:
    """The artifacts of ended runs, in memory."""

    def __init__(self, count: int = KEPT, size: int = BYTES, age: float = AGE) -> None:
        self._bounds = (count, size, age)
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._size = 0

    def keep(self, run: Run) -> Run:
        """Keep what the run left; the same run without those bytes."""
        if run.result is None or not run.result.artifacts:
            return run
        for artifact in run.result.artifacts:
            self._kept[run.id, artifact.name] = _Kept(artifact, run.caller.name, time.monotonic())
            self._size += len(artifact.content)
        self._forget()
        named = tuple(artifact.model_copy(update={"content": b""}) for artifact in run.result.artifacts)
        return run.model_copy(update={"result": run.result.model_copy(update={"artifacts": named})})

    def read(self, caller: Caller, uri: str, size: int = PART) -> Part:
        """The part of an artifact at this address, of at most `size` bytes.

        Raises `NotFound` for an address that is none, for what is not kept (any more), for another caller's,
        and for an offset beyond the end.
        """
        self._forget()
        address = Address.of(uri)
        kept = self._kept.get((address.run, address.name))
        if kept is None or kept.owner != caller.name:
            raise unknown(uri)
        return address.part(kept.artifact, size)

    def _forget(self) -> None:
        count, size, age = self._bounds
        oldest = time.monotonic() - age
        while self._kept:
            first = next(iter(self._kept.values()))
            if first.since >= oldest and len(self._kept) <= count and self._size <= size:
                return
            self._kept.popitem(last=False)
            self._size -= len(first.artifact.content)
