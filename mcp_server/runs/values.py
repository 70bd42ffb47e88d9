"""The value that a run gave, whole: as its pipeline returned it."""

from __future__ import annotations

from typing import Any, cast

import orjson

from ..content.fitting import WHOLE
from ..models import Json, Run
from .past import Past

ALL = 2**40
"""Bytes: more than any artifact has."""


async def value(past: Past, run: Run) -> Any:
    """The value a pipeline returned, whole; where it returned blocks without one, their text."""
    assert run.result is not None, "an ended run that was not cancelled has a result"
    blocks: list[Json] = orjson.loads(run.result.content)
    whole = next((each.name for each in run.result.artifacts if each.name.startswith("result.")), None)
    if run.result.partial and whole is not None:
        uri = next(each.uri(run.id) for each in run.result.artifacts if each.name == whole)
        content = (await past.part(run.caller, uri, ALL)).content
        if whole.endswith(".txt"):
            return content.decode()
        wrapped = any(block.get("description") == WHOLE for block in blocks)  # else it is what was returned
        return unwrapped(orjson.loads(content)) if wrapped else orjson.loads(content)
    if run.result.structured is None:
        return "\n".join(spoken(blocks)) or None
    found: Json = orjson.loads(run.result.structured)
    text = next(iter(spoken(blocks)), "")
    return found if text.encode() == run.result.structured else unwrapped(found)


def unwrapped(found: Any) -> Any:
    """What is in the object that MCP needs around a value which is none."""
    members = members_of(found)
    return members["result"] if members.keys() == {"result"} else found


def members_of(found: Any) -> Json:
    """The members of an object; none of any other value."""
    return cast(Json, found) if isinstance(found, dict) else {}


def spoken(blocks: list[Json]) -> list[str]:
    """The texts of the content."""
    return [block["text"] for block in blocks if block["type"] == "text"]
