"""What one thing says in a chat, whatever it is: a text, a chunk, a message of Haystack, an answer of OpenAI.

Types are known by their attributes and names: this process may have no Haystack, and no OpenAI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import orjson

from ..content import render
from ..models import Json

_ANSWERS = ("last_message", "replies", "answers", "answer", "reply", "response", "result", "text", "output")
"""What Haystack and its users call an answer among other outputs, the surest first."""


@dataclass(frozen=True)
class Part:
    """What one piece says. `calls` are of OpenAI's form for pieces: with `index`, arguments in fragments."""

    text: str = ""
    reasoning: str = ""
    calls: Sequence[Json] = ()
    finish: str | None = None
    usage: Json | None = None
    inner: bool = False
    """The result of a tool: the calls before were the pipeline's own business."""


def part_of(item: Any) -> Part:
    """What an item says, whatever it is."""
    if isinstance(item, str):
        return Part(text=item)
    if hasattr(item, "component_info") and isinstance(getattr(item, "content", None), str):
        return _chunk(item)
    if _is_message(item):
        return _message(item)
    dump_model = getattr(item, "model_dump", None)
    given = dump_model(mode="json", exclude_none=True) if callable(dump_model) else item
    if isinstance(given, dict) and _is_openai(cast(Json, given)):
        return _openai(cast(Json, given))
    return _found(item)


def _chunk(chunk: Any) -> Part:
    """Haystack's StreamingChunk."""
    calls = [
        {
            "index": call.index,
            "id": call.id,
            "function": {"name": call.tool_name, "arguments": call.arguments},
        }
        for call in chunk.tool_calls or ()
    ]
    return Part(
        chunk.content,
        chunk.reasoning.reasoning_text if chunk.reasoning else "",
        calls,
        chunk.finish_reason,
        tokens(chunk.meta.get("usage")),
        chunk.tool_call_result is not None,
    )


def _is_message(value: Any) -> bool:
    return any(kind.__qualname__ == "ChatMessage" for kind in cast(type[Any], type(value)).__mro__)


def _message(message: Any) -> Part:
    """Haystack's ChatMessage; of a tool's answer, that an agent ends with, the text."""
    calls = [
        {"index": index, "id": call.id, "function": _function(call.tool_name, call.arguments)}
        for index, call in enumerate(message.tool_calls)
    ]
    told = message.tool_call_result
    text = message.text or (told.result if told is not None and isinstance(told.result, str) else "")
    reasoning = message.reasoning.reasoning_text if message.reasoning else ""
    return Part(text, reasoning, calls, message.meta.get("finish_reason"), tokens(message.meta.get("usage")))


def _function(name: str, arguments: Json) -> Json:
    return {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}


def _is_openai(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("choices"), list) or item.get("object") == "response"


def _openai(item: Json) -> Part:
    """A chunk or the whole of a chat completion, or a response."""
    usage = tokens(item.get("usage"))
    if "choices" not in item:
        return _response(item.get("output") or [], usage)
    choices: list[Json] = item["choices"]
    choice = choices[0] if choices else {}
    said: Json = choice.get("delta") or choice.get("message") or {}
    content = said.get("content")
    return Part(
        content if isinstance(content, str) else "",
        said.get("reasoning_content") or "",
        said.get("tool_calls") or (),
        choice.get("finish_reason"),
        usage,
    )


def _response(output: Sequence[Json], usage: Json | None) -> Part:
    contents = [
        part for item in output if item.get("type") == "message" for part in item.get("content") or ()
    ]
    made = [item for item in output if item.get("type") == "function_call"]
    calls = [
        {
            "index": index,
            "id": item.get("call_id"),
            "function": {key: item[key] for key in ("name", "arguments")},
        }
        for index, item in enumerate(made)
    ]
    return Part("".join(part.get("text") or "" for part in contents), calls=calls, usage=usage)


def _found(value: Any) -> Part:
    """The answer in what a pipeline gave: what bears a usual name, what is alone, else all of it as JSON."""
    inner: Any = value
    usage: Json | None = None
    while isinstance(inner, Mapping) and inner:
        outputs = cast(Json, inner)
        usage = tokens(outputs.get("token_usage")) or usage
        name = next((name for name in _ANSWERS if name in outputs), None) or _alone(outputs)
        if name is None:
            break
        inner = outputs[name]
        if name in ("replies", "answers") and isinstance(inner, list) and inner:
            inner = cast(list[Any], inner)[0]
    if _is_message(inner):
        part = _message(inner)
        return Part(part.text, part.reasoning, part.calls, part.finish, usage or part.usage)
    blocks: list[Json] = orjson.loads(render(cast(object, inner)).content)
    return Part("\n".join(block["text"] for block in blocks if block["type"] == "text"), usage=usage)


def _alone(outputs: Json) -> str | None:
    """The only output, or the only component whose outputs have an answer among them."""
    named = [name for name, inner in outputs.items() if isinstance(inner, Mapping) and {*_ANSWERS} & {*inner}]
    names = named or list(outputs)
    return names[0] if len(names) == 1 else None


def tokens(usage: Any) -> Json | None:
    """Usage by OpenAI's names for chats, from those or the names of its Responses API; None if untold."""
    given = cast(Json, usage) if isinstance(usage, dict) else {}
    read = given.get("prompt_tokens", given.get("input_tokens"))
    wrote = given.get("completion_tokens", given.get("output_tokens"))
    if not isinstance(read, int) or not isinstance(wrote, int):
        return None
    return {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote}
