"""Server-sent events as bytes (HTML standard, section 9.2)."""

from __future__ import annotations

from ..content.encoder import dump
from ..models import Json


def event(kind: str, data: Json, identity: str | None = None) -> bytes:
    """An event with JSON as its data; after a break a client names the last `identity` it got."""
    known = f"id: {identity}\n" if identity is not None else ""
    return f"{known}event: {kind}\ndata: ".encode() + dump(data) + b"\n\n"


def beat() -> bytes:
    """A comment that keeps a silent stream open."""
    return b": \n\n"
