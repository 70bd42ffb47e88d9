"""A run with files: they go up as a form over plain HTTP, which has room for large ones; events come back."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

import httpx2
import mcp_types as types
import orjson

from ..models import Json
from ..models.meta import RUN
from .connection import http_client
from .following import Following
from .parameters import FILES
from .remote import Failed
from .results import how_to_answer


class Counted(io.FileIO):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, tell: Callable[[int], None]) -> None:
        super().__init__(path)
        self._tell = tell

    def read(self, size: int | None = -1) -> bytes:
        """Read, and tell."""
        data = super().read(-1 if size is None else size) or b""
        self._tell(len(data))
        return data


async def run(
    base: str, name: str, inputs: Json, named: Iterable[tuple[str, Path]], following: Following
) -> types.CallToolResult:
    """Upload, run to the end, and give the result; text and progress are followed meanwhile.

    Raises `Failed` with what the server or the pipeline said, or with what the run asks.
    """
    files = [*named]
    total, sent = sum(path.stat().st_size for _, path in files), 0

    def tell(size: int) -> None:
        nonlocal sent
        sent += size
        following.advance(sent, total, "uploading")

    texts = {key: value if isinstance(value, str) else orjson.dumps(value) for key, value in inputs.items()}
    with ExitStack() as stack:
        parts = [
            (FILES, (path_name, stack.enter_context(Counted(path, tell)), _type(path_name)))
            for path_name, path in files
        ]
        async with (
            http_client(base) as http,
            http.stream(
                "POST", f"{base}/{name}/run", data=texts, files=parts, headers={"Accept": "text/event-stream"}
            ) as response,
        ):
            if not response.is_success:
                raise Failed(_message(orjson.loads(await response.aread())))
            return await _followed(response, following)


async def _followed(response: httpx2.Response, following: Following) -> types.CallToolResult:
    identity = ""
    async for kind, told in events(response.aiter_lines()):
        match kind:
            case "run":
                identity = told["run_id"]
            case "chunk":
                following.text(told["text"], told.get("source"))
            case "progress":
                following.advance(told["done"], told.get("total"), told.get("message"))
            case "question" if "question" in told:
                raise Failed(how_to_answer(told))
            case "question":
                raise Failed(f"run {identity} goes on by itself: mcp-server runs show {identity}")
            case "error":
                raise Failed(_message(told))
            case "result":
                return _result(told, identity)
            case _:
                pass
    raise Failed("the server ended before the run did")


async def events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, Json]]:
    """The events of a stream, each with its kind; comments are left out."""
    kind, data = "", ""
    async for line in lines:
        if line.startswith("event:"):
            kind = line.partition(":")[2].strip()
        elif line.startswith("data:"):
            data += line.partition(":")[2]
        elif not line and data:
            yield kind, orjson.loads(data)
            kind, data = "", ""


def _result(told: Json, identity: str) -> types.CallToolResult:
    content = told.get("content") or [{"type": "text", "text": orjson.dumps(told["result"]).decode()}]
    wire = {
        "content": content,
        "structuredContent": {"result": told["result"]},
        "_meta": {RUN: {"id": identity}},
    }
    return types.CallToolResult.model_validate(wire)


def _message(told: Json) -> str:
    return told["error"]["message"]


def _type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
