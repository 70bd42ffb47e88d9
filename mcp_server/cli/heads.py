"""What the head of a request tells before anything is made of it: is it too much, and does it call?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..authentication import LISTEN
from ..settings.bounding import Bounding

TARGET = "The target of a request is a path here; a URL is for proxies."


def fault(
    url: bytes, headers: Sequence[tuple[bytes, bytes]], size: int, limits: Bounding
) -> tuple[int, str] | None:
    """The status and the words with which it is refused, if it is; `size` is at least its number of bytes."""
    if len(url) > limits.url_limit:
        return 414, "The URL is too long."
    if len(headers) > limits.max_headers:
        return 431, "There are too many headers."
    least = limits.header_limit
    if size > least and sum(len(name) + len(value) for name, value in headers) > least:
        return 431, "The headers are too large."
    return None if url.startswith(b"/") else (400, TARGET)


def calls(method: str, path: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if it is one of those of which only so many may be in flight."""
    return method == "POST" and not (LISTEN in headers and path.startswith(b"/mcp"))
