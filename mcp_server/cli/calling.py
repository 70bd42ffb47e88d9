"""One call of a tool, from the command line to its printed result."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import mcp_types as types

from ..models import Json
from ..models.meta import RUN
from ..settings import given
from . import places, results, uploading
from .connection import Connection, use
from .following import Following
from .parameters import inline

Files = Sequence[tuple[str, Path]]
"""Files to upload, each with its name."""


def run(
    name: str, inputs: Json, files: Files, *, url: str | None, as_json: bool, stream: bool, local: str | None
) -> None:
    """Run a pipeline and print its result. Raises as `call`."""
    wanted = {"name": name, "arguments": inputs | inline(files if local is not None else ())}
    if local is not None:
        call("run_pipeline", wanted, name, url=url, as_json=as_json, stream=stream, local=local)
        return

    async def work(server: Connection) -> types.CallToolResult:
        if not files:
            result = await server.call("run_pipeline", wanted)
            if not await _hidden(server, name, result):
                return await results.completed(server, result)
        return await uploading.run(server.url, name, inputs, files, following)

    following = Following(name, stream=stream, as_json=as_json)
    with following:
        result = use(url, work, following)
    results.tell(result, as_json=as_json, lines=stream, streamed=following.streamed)


async def _hidden(server: Connection, name: str, result: types.CallToolResult) -> bool:
    """True if MCP does not know the pipeline, so that no run began; plain HTTP serves also what is hidden."""
    if not result.is_error or RUN in (result.meta or {}):
        return False
    return (await server.call("describe_pipeline", {"name": name})).is_error


def call(
    tool: str, inputs: Json, doing: str, *, url: str | None, as_json: bool, stream: bool, local: str | None
) -> None:
    """Call a tool of a server, or of one in this process over the folder `local`, and print its result.

    Raises `Failed` if there is none, and `Unusable` if the server cannot be reached.
    """

    async def work(server: Connection) -> types.CallToolResult:
        return await results.completed(server, await server.call(tool, inputs))

    following = Following(doing, stream=stream, as_json=as_json)
    with following:
        if local is None:
            result = use(url, work, following)
        else:
            from .local import use_local  # a whole server, which no other command needs

            settings = places.checked(given(folder=local))
            logging.basicConfig(level=settings.log_level.upper())
            result = use_local(settings, work, following)
    results.tell(result, as_json=as_json, lines=stream, streamed=following.streamed)
