"""Results of tools in wire form: of an ended run, of one that goes on, of a management tool, of a refusal."""

from __future__ import annotations

from functools import lru_cache

import orjson
from mcp_types.methods import serialize_server_result
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from ...errors import Limited, Overloaded, ServerError
from ...models import Json, Run
from ...models.meta import RETRY_AFTER, RUN

SAID = b'{"%b":{"id":"' % RUN.encode()
"""How what most results say of their run begins, as JSON; ids and digests are hex."""
TEXT = b'[{"type":"text","text":"'


def joined(run: Run) -> Json:
    """The result of a run, as the host rendered it."""
    assert run.result is not None, "an ended run has a result"
    result: Json = {
        "content": blocks(run),
        "isError": run.result.is_error,
        "_meta": {RUN: about_of(run)},
        "resultType": "complete",
    }
    if run.result.structured is not None:
        result["structuredContent"] = orjson.loads(run.result.structured)
    return result


def bytes_of(run: Run, stamp: bytes | None) -> bytes:
    """The same as JSON, without parsing what the host rendered. `stamp` is what the SDK adds to `_meta` in
    the modern era; None in a session, where results have no `resultType`."""
    assert run.result is not None, "an ended run has a result"
    result = run.result
    if result.partial or run.cached:
        about = orjson.dumps({RUN: about_of(run)})[:-1]
    else:
        about = b"".join((SAID, run.id.encode(), rest_of(run.version, run.digest)))
    structured = result.structured
    return b"".join(
        (
            b'{"content":',
            shaped(result.content),
            b',"isError":true' if result.is_error else b',"isError":false',
            b"" if structured is None else b',"structuredContent":',
            structured or b"",
            b',"_meta":',
            about,
            b"}}" if stamp is None else b"," + stamp + b'},"resultType":"complete"}',
        )
    )


@lru_cache(maxsize=256)
def rest_of(version: int, digest: str) -> bytes:
    """What follows the id in it."""
    return b'","version":"%d","digest":"%b"}' % (version, digest.encode())


def shaped(content: bytes) -> bytes:
    """The content as the SDK lets it pass: of blocks that authors made themselves, what it knows."""
    if content.startswith(TEXT) and content.find(b'"', len(TEXT)) == len(content) - len(b'"}]'):
        return content  # one text without quotes in it, the most frequent
    found = orjson.loads(content)
    if all(block.keys() == {"type", "text"} for block in found):
        return content
    result = serialize_server_result("tools/call", LATEST_HANDSHAKE_VERSION, {"content": found})
    return orjson.dumps(result["content"])


def blocks(run: Run) -> list[Json]:
    """The content of an ended run."""
    assert run.result is not None, "only a cancelled run has no result, and that was checked"
    return orjson.loads(run.result.content)


def unfinished(run: Run, text: str) -> Json:
    """The result of a call whose run has not ended: what to do about it.

    An error, because without one the structured content would have to fit the tool's output schema.
    """
    return failure(text) | {"_meta": {RUN: told(run)}}


def about_of(run: Run) -> Json:
    """What a result says of the run it comes from."""
    about = told(run) | ({"partial": True} if run.result and run.result.partial else {})
    return about | ({"cached": True} if run.cached else {})


def told(run: Run) -> Json:
    """Which run it is."""
    return {"id": run.id, "version": str(run.version), "digest": run.digest}


def answer(structured: Json) -> Json:
    """A result with structured content, and the same as text for clients that show nothing else."""
    text = {"type": "text", "text": orjson.dumps(structured).decode()}
    return {"content": [text], "structuredContent": structured, "isError": False, "resultType": "complete"}


def refused(error: ServerError) -> Json:
    """A result that says why it was not done, and when to try again if that is known."""
    about = {RETRY_AFTER: error.after} if isinstance(error, Limited | Overloaded) else None
    return failure(str(error)) | ({"_meta": about} if about else {})


def failure(text: str) -> Json:
    """A result that says what to change; `resultType` is for the modern era, the older one leaves it out."""
    return {"content": [{"type": "text", "text": text}], "isError": True, "resultType": "complete"}
