"""Results of tools in wire form: of an ended run, of one that goes on, of a management tool, of a refusal."""

from __future__ import annotations

import orjson

from ...errors import Limited, Overloaded, ServerError
from ...models import Json, Run
from ...models.meta import RETRY_AFTER, RUN


def joined(run: Run) -> Json:
    """The result of a run, as the host rendered it."""
    assert run.result is not None, "an ended run has a result"
    about = told(run) | ({"partial": True} if run.result.partial else {})
    about |= {"cached": True} if run.cached else {}
    result: Json = {
        "content": blocks(run),
        "isError": run.result.is_error,
        "_meta": {RUN: about},
        "resultType": "complete",
    }
    if run.result.structured is not None:
        result["structuredContent"] = orjson.loads(run.result.structured)
    return result


def blocks(run: Run) -> list[Json]:
    """The content of an ended run."""
    assert run.result is not None, "only a cancelled run has no result, and that was checked"
    return orjson.loads(run.result.content)


def unfinished(run: Run, text: str) -> Json:
    """The result of a call whose run has not ended: what to do about it.

    An error, because without one the structured content would have to fit the tool's output schema.
    """
    return failure(text) | {"_meta": {RUN: told(run)}}


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
