"""What a run gave, as an HTTP response: JSON, a file, text as it comes, or events.

A failed run is 500 with its reason, one whose arguments did not fit is 400, a cancelled one 409. A run that
goes on, or waits for an answer, is 202 with its id and where to follow it.
"""

from __future__ import annotations

import mimetypes
from base64 import b64decode
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote, unquote

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ...models import Chunk, Json, Run
from ...runs import Runs
from ...runs.values import ALL, members_of, spoken, unwrapped, value
from ..listening import Listening, Stream
from ..management.run_views import detailed, parked
from ..operations import as_json
from ..sse import beat, event
from .errors import error_body, error_response

RUN_ID = "X-Pipeline-Run-ID"
INVALID_PARAMS = -32602
"""JSON-RPC's code by which a pipeline refuses its arguments on purpose."""
SILENCE = 15.0
"""Seconds without an event after which a stream of events shows that it lives."""
TEXT = "text/plain; charset=utf-8"
_MEDIUM = "content[1] ("
"""How what stands for a file begins, if the file is all that a pipeline returned."""


async def answered(request: Request, runs: Runs, heard: Listening) -> Response:
    """The response to whoever waits for the end."""
    question = await heard.end()
    run, headers = heard.run, {RUN_ID: heard.run.id}
    if question is not None or not run.ended:
        headers["Location"] = f"{request.scope.get('root_path', '')}/runs/{run.id}"
        return as_json(pending(heard), 202, headers)
    if fault := problem(run):
        return error_response(request, *fault, headers)
    return await given(runs, run, headers)


async def streamed_text(request: Request, runs: Runs, heard: Listening) -> Response:
    """The text of a run as it comes. What goes wrong before any has its status, later it is a last line."""
    said = texts(heard)
    first = await anext(said, None)
    if first is None and heard.run.ended and not problem(heard.run):
        whole = await value(runs.past, heard.run)
        first = whole if isinstance(whole, str) else orjson.dumps(whole).decode()
    if first is None:
        return await answered(request, runs, heard)

    async def pieces() -> AsyncGenerator[bytes]:
        yield first.encode()
        async for text in said:
            yield text.encode()
        if heard.question:
            yield f"\n{parked(heard.live, heard.question)}\n".encode()
        elif fault := problem(heard.run):
            yield f"\nError: {fault[1]}\n".encode()

    return Stream(heard, pieces(), TEXT, {RUN_ID: heard.run.id})


async def texts(heard: Listening) -> AsyncGenerator[str]:
    """The pieces of text."""
    async for each in heard:
        if isinstance(each, Chunk) and each.text:
            yield each.text


def streamed_events(request: Request, runs: Runs, heard: Listening) -> Response:
    """Every event of a run as it comes: `run`, then any, then `result`, `error` or `question`."""

    async def pieces() -> AsyncGenerator[bytes]:
        yield event("run", {"run_id": heard.run.id})
        async for each in heard.with_beats(SILENCE):
            yield event(each.kind, each.model_dump(mode="json", exclude={"kind"})) if each else beat()
        if heard.question is not None or not heard.run.ended:
            yield event("question", pending(heard))
        elif fault := problem(heard.run):
            yield event("error", error_body(request, *fault))
        else:
            yield event("result", await json_of(runs, heard.run))

    return Stream(heard, pieces(), "text/event-stream", {RUN_ID: heard.run.id})


def pending(heard: Listening) -> Json:
    """A run that has not ended: what it asks and how to answer, or where to follow it."""
    run, question = heard.run, heard.question
    if question is None:
        follow = f"The run goes on by itself. GET /runs/{run.id} shows it, /runs/{run.id}/events follows it."
        return detailed(run, heard.live) | {"next": follow}
    keys = ", ".join(question.requests)
    how = f"POST /runs/{run.id}/answer with `answers`, an object with {keys}, and the run goes on."
    return detailed(run, heard.live) | {"next": how}


def problem(run: Run) -> tuple[int, str] | None:
    """The status and the reason of an ended run that gave nothing; None if it gave something."""
    if run.status == "cancelled":
        return 409, f"Run {run.id} was cancelled."
    result = run.result
    if result is None or not result.is_error:
        return None
    refused = result.refused or (result.fault is not None and result.fault.code == INVALID_PARAMS)
    return 400 if refused else 500, "\n".join(spoken(orjson.loads(result.content)))


async def given(runs: Runs, run: Run, headers: dict[str, str]) -> Response:
    """What a run gave: a file as a file, anything else as JSON."""
    assert run.result is not None, "an ended run that was not cancelled has a result"
    if medium := file_block(run):
        content, kind, name = await file_of(runs, run, medium)
        about = {"Content-Disposition": disposition(name), "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=kind, headers=headers | about)
    return as_json(await json_of(runs, run), headers=headers)


async def json_of(runs: Runs, run: Run) -> Json:
    """`{"result": …}`, and as `content` in MCP's form what cannot be in JSON: images, files, links."""
    assert run.result is not None, "an ended run that was not cancelled has a result"
    blocks: list[Json] = orjson.loads(run.result.content)
    others = [block for block in blocks if block["type"] != "text"]
    found: Json = {"result": await value(runs.past, run)}
    return found | {"content": blocks} if others and not run.result.partial else found


def file_block(run: Run) -> Json | None:
    """The block of a file, an image or a sound that is all a pipeline returned; None if it is not."""
    assert run.result is not None, "an ended run that was not cancelled has a result"
    blocks: list[Json] = orjson.loads(run.result.content)
    if run.result.structured is None:
        return blocks[0] if len(blocks) == 1 and blocks[0]["type"] != "text" else None
    shown = unwrapped(orjson.loads(run.result.structured))
    members = members_of(shown)
    places: list[Any] = [*members.values()] if "mime_type" in members else [shown]
    stands = any(isinstance(each, str) and each.startswith(_MEDIUM) for each in places)
    return blocks[1] if stands and len(blocks) > 1 else None


async def file_of(runs: Runs, run: Run, block: Json) -> tuple[bytes, str, str]:
    """Content, type and name of a file."""
    holder: Json = block.get("resource", block)
    address: str = holder.get("uri", "")
    kind: str = holder.get("mimeType", "application/octet-stream")
    name = unquote(address.rpartition("/")[2])
    if name in ("", "file"):
        name = run.pipeline + (mimetypes.guess_extension(kind) or "")
    if block["type"] == "resource_link" and address.startswith("run://"):
        return (await runs.past.part(run.caller, address, ALL)).content, kind, name
    if "text" in holder:
        return str(holder["text"]).encode(), kind, name
    return b64decode(holder.get("blob") or holder.get("data") or ""), kind, name


def disposition(name: str) -> str:
    """`Content-Disposition` with a name of any characters (RFC 6266)."""
    return f"attachment; filename*=utf-8''{quote(name, safe='')}"
