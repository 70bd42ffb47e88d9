"""How large bodies may be, by what they are for, and how much of them may be held at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from .settings.bounding import Bounding

FORM = b"multipart/form-data"
UPLOADS = re.compile(r"/(run|files)/?$")
"""The paths of routes that take files."""
DEPLOYS = re.compile(r"/(mcp(/[^/]*)?|messages|deploy_files|deploy-yaml|pipelines/deploy)/?$")
"""The paths where a pipeline may come; MCP's own check knows which tool is called."""
CHATS = re.compile(r"/(chat|completions|responses)/?$")
"""The paths of chats, whose images and files come inside JSON."""
PROXIED = re.compile(r"/mlflow/")
"""What passes on to another server as it comes."""
KNOWN = 256
"""Paths that are remembered."""
FULL = "The server holds as many bodies as it may; try again in a second."


class Body(NamedTuple):
    """What is known of a body before it comes."""

    limit: int
    """Bytes that it may have."""
    is_held: bool
    """True if it is in memory until it is answered: not on disk, as the files of forms, nor passed on."""


class Bodies:
    """Counts what comes in. Bodies are held in memory until they are answered, but forms go to disk."""

    def __init__(self, limits: Bounding) -> None:
        self._limits = limits
        self._held = 0
        self._about = lru_cache(KNOWN)(self._found)

    def about(self, path: str, headers: Mapping[bytes, bytes]) -> Body:
        """Of a request to this path with these headers."""
        return self._about(path, headers.get(b"content-type", b"").lower().startswith(FORM))

    def _found(self, path: str, is_form: bool) -> Body:
        limits, is_proxied = self._limits, PROXIED.search(path) is not None
        is_held = not is_form and not is_proxied
        if (UPLOADS.search(path) and is_form) or is_proxied:
            return Body(limits.upload_limit, is_held)
        if DEPLOYS.search(path):
            return Body(max(limits.deploy_limit, limits.body_limit), is_held)
        limit = max(limits.chat_limit, limits.body_limit) if CHATS.search(path) else limits.body_limit
        return Body(limit, is_held)

    def hold(self, size: int) -> None:
        """Count in what came. Raises HTTP's 503 if it is too much with all the others."""
        self._held += size
        if self._held > self._limits.buffer_limit:
            raise HTTPException(503, FULL, {"Retry-After": "1"})

    def release(self, size: int) -> None:
        """Count it out."""
        self._held -= size


class Counted:
    """The `receive` of one request, which refuses a body that grows beyond its limit, or beyond what all may
    have. To be closed when it is answered."""

    def __init__(self, bodies: Bodies, receive: Receive, about: Body) -> None:
        self._bodies = bodies
        self._receive = receive
        self._limit, self._is_held = about
        self._size = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        if size := len(message.get("body", b"")):
            self._size += size
            if self._is_held:
                self._bodies.hold(size)
            if self._size > self._limit:
                raise HTTPException(413, too_large(self._limit))
        return message

    def close(self) -> None:
        """It is answered; nothing of its body is held any more."""
        if self._is_held and self._size:
            self._bodies.release(self._size)
            self._size = 0


def fits(size: bytes, limit: int) -> bool:
    """False for a Content-Length that is none, or says too much."""
    return size.isdigit() and len(size) <= 10 and int(size) <= limit


def too_large(limit: int) -> str:
    """The reason for 413."""
    return f"The body is larger than {limit} bytes."
