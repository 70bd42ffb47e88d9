"""How large bodies may be, by what they are for, and how much of them may be held at once."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from .settings.bounding import Bounding

FORM = "multipart/form-data"
UPLOADS = re.compile(r"/(run|files)/?$")
"""The paths of routes that take files."""
DEPLOYS = re.compile(r"/(mcp(/[^/]*)?|messages|deploy_files|deploy-yaml|pipelines/deploy)/?$")
"""The paths where a pipeline may come; MCP's own check knows which tool is called."""
CHATS = re.compile(r"/(chat|completions|responses)/?$")
"""The paths of chats, whose images and files come inside JSON."""
PROXIED = re.compile(r"/mlflow/")
"""What passes on to another server as it comes."""
SIZE = re.compile(r"[0-9]{1,10}")
FULL = "The server holds as many bodies as it may; try again in a second."


class Bodies:
    """Counts what comes in. Bodies are held in memory until they are answered, but forms go to disk."""

    def __init__(self, limits: Bounding) -> None:
        self._limits = limits
        self._held = 0

    def limit(self, scope: Scope) -> int:
        """Bytes that the body may have."""
        path, limits = scope["path"], self._limits
        if (UPLOADS.search(path) and is_form(scope)) or PROXIED.search(path):
            return limits.upload_limit
        if DEPLOYS.search(path):
            return max(limits.deploy_limit, limits.body_limit)
        return max(limits.chat_limit, limits.body_limit) if CHATS.search(path) else limits.body_limit

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

    def __init__(self, bodies: Bodies, receive: Receive, limit: int, is_held: bool) -> None:
        self._bodies = bodies
        self._receive = receive
        self._limit = limit
        self._is_held = is_held
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


def is_held(scope: Scope) -> bool:
    """True if the body is in memory until it is answered: not on disk, nor passed on."""
    return not is_form(scope) and not PROXIED.search(scope["path"])


def is_form(scope: Scope) -> bool:
    """True for a form, whose files go to disk."""
    form = FORM.encode()
    return any(key == b"content-type" and value.lower().startswith(form) for key, value in scope["headers"])


def fits(size: str, limit: int) -> bool:
    """False for a Content-Length that is none, or says too much."""
    return SIZE.fullmatch(size) is not None and int(size) <= limit


def too_large(limit: int) -> str:
    """The reason for 413."""
    return f"The body is larger than {limit} bytes."
