"""What a pipeline says in a chat: told in pieces as it comes, and in the end as a message of OpenAI's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..content.encoder import dump
from ..models import Aside, Json, Result
from .context import Context
from .said import Part, part_of
from .streams import displayed

_CUT_SHORT = frozenset({"length", "content_filter"})
"""Reasons to stop which a client must hear of."""


class Speech:
    """One answer in a chat. Its whole is a `Result` whose structured content is

        {"message": {role, content, tool_calls?, reasoning_content?}, "finish_reason": …, "usage"?: …}

    `usage` is there if the pipeline tells it, summed over the turns of its models. Calls of tools are kept
    to the end: those that an agent makes and answers itself are not its client's.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[Json] = []
        self._usages: dict[int, Json] = {}
        """By the turn of a model, of which the last word counts."""
        self._finish: str | None = None
        self._turn = 0
        self._turned = True
        """True where a turn begins."""

    def take(self, item: Any) -> None:
        """Tell a piece. Raises `Stopped` if the run is to stop."""
        self._context.check()
        if item is None:
            return
        if display := displayed(item):
            self._context.aside(Aside(display=display))
            return
        part = part_of(item)
        self._context.chunk(part.text)
        if part.reasoning:
            self._context.aside(Aside(reasoning=part.reasoning))
        self._add(part)

    def value(self, value: Any) -> Result:
        """The whole from what came in one piece, perhaps after it was told in pieces."""
        if value is not None:
            part = part_of(value)
            self._texts = [part.text] if part.text else self._texts
            self._thoughts = [part.reasoning] if part.reasoning else self._thoughts
            self._calls = [*part.calls]
            self._usages = {0: part.usage} if part.usage else self._usages
            self._finish = part.finish
        return self.joined()

    def joined(self) -> Result:
        """The whole."""
        text, thoughts, calls = "".join(self._texts), "".join(self._thoughts), merged(self._calls)
        message: Json = {"role": "assistant", "content": text if text or not calls else None}
        message |= {"reasoning_content": thoughts} if thoughts else {}
        message |= {"tool_calls": calls} if calls else {}
        finish = self._finish if self._finish in _CUT_SHORT else "tool_calls" if calls else "stop"
        told: Json = {"message": message, "finish_reason": finish}
        told |= {"usage": summed([*self._usages.values()])} if self._usages else {}
        return Result(content=dump([{"type": "text", "text": text}]), structured=dump(told))

    def _add(self, part: Part) -> None:
        begins = self._turned and bool(part.text or part.reasoning or part.calls)
        if part.inner or begins:
            self._calls = []
        if begins:
            self._turn, self._turned = self._turn + 1, False
        if part.usage:
            self._usages[self._turn] = part.usage
        self._texts.append(part.text)
        self._thoughts.append(part.reasoning)
        self._calls += part.calls
        if part.finish:
            self._finish, self._turned = part.finish, True


def summed(usages: Sequence[Json]) -> Json:
    """The usage of all turns."""
    return {name: sum(usage[name] for usage in usages) for name in usages[0]}


def merged(pieces: Sequence[Json]) -> list[Json]:
    """Calls of tools from their pieces, in order."""
    calls: dict[int, Json] = {}
    for piece in pieces:
        call = calls.setdefault(piece.get("index", len(calls)), {"id": "", "name": "", "arguments": ""})
        function: Json = piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["name"] = function.get("name") or call["name"]
        call["arguments"] += function.get("arguments") or ""
    return [
        {
            "id": call["id"] or f"call_{place}",
            "type": "function",
            "function": {"name": call["name"], "arguments": call["arguments"]},
        }
        for place, call in enumerate(calls.values())
    ]
