"""The end of a call as the command line tells it: the result on stdout, or why there is none."""

from __future__ import annotations

import click
import mcp_types as types
import orjson

from ..models import Json
from ..models.meta import RUN
from .connection import Connection, text_of
from .printing import output, structured, unwrapped
from .remote import Failed, dumped


async def completed(server: Connection, result: types.CallToolResult) -> types.CallToolResult:
    """The result if the call went well. Raises `Failed` with what the pipeline said, or with what it asks."""
    if not result.is_error:
        return result
    identity = (result.meta or {}).get(RUN, {}).get("id")
    if identity:
        run = await server.ask("get_run", run_id=identity)
        if "question" in run:
            raise Failed(how_to_answer(run))
    raise Failed(text_of(result))


def how_to_answer(run: Json) -> str:
    """What a run asks, and the command that answers it."""
    asked = [wanted.get("params", {}) for wanted in run["question"].values()]
    message = " / ".join(each.get("message", "") for each in asked)
    fields = [name for each in asked for name in each.get("requestedSchema", {}).get("properties", {})]
    params = " ".join(f"--param {name}=…" for name in fields)
    return f"run {run['run_id']} waits: {message} Answer it: mcp-server runs answer {run['run_id']} {params}"


def shown(result: types.CallToolResult) -> str:
    """A result as text: a lone text as it is, structured content as JSON, other blocks by what they are."""
    if result.structured_content is not None:
        return output(structured(result.structured_content))
    return output("\n".join(map(_block, result.content)))


def wire(result: types.CallToolResult) -> Json:
    """A result for programs: the id of its run, its structured content, all of its content."""
    found: Json = {"run_id": (result.meta or {}).get(RUN, {}).get("id")}
    if result.structured_content is not None:
        found["result"] = unwrapped(result.structured_content)
    found["content"] = [
        block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content
    ]
    return {key: value for key, value in found.items() if value is not None}


def tell(result: types.CallToolResult, *, as_json: bool, lines: bool = False, streamed: bool = False) -> None:
    """Print a result; with `lines` its JSON is one line. What was streamed is not printed again."""
    if as_json:
        click.echo(orjson.dumps(wire(result)) if lines else dumped(wire(result)))
    elif not streamed:
        click.echo(shown(result))


def _block(block: types.ContentBlock) -> str:
    match block:
        case types.TextContent():
            return block.text
        case types.ImageContent() | types.AudioContent():
            return f"({block.mime_type}, {len(block.data) * 3 // 4:,} bytes)"
        case types.ResourceLink():
            return f"({block.name}: {block.uri})"
        case types.EmbeddedResource():
            return f"({block.resource.uri})"
