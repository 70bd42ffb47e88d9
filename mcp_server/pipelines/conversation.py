"""Conversations as OpenAI writes them: chat messages, or the input items of its Responses API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from ..models import Json

_TEXTS = ("text", "input_text", "output_text")
"""Types of the parts that are text; a part without a type may be one too."""


def get_last_user_message(messages: Iterable[Any]) -> str | None:
    """The text of the last message whose role is `user`; None if there is none.

    Messages are OpenAI's, as dicts or objects; of a message in parts the text parts are joined.
    """
    return next((get_content(message) for message in reversed([*messages]) if is_user_message(message)), None)


def is_user_message(message: Any) -> bool:
    """True if a person said it."""
    return _field(message, "role") == "user"


def get_content(message: Any) -> str:
    """The text of a message."""
    content = _field(message, "content")
    if not isinstance(content, list):
        return content or ""
    texts = [_field(part, "text") for part in cast(list[Any], content)]
    return "\n".join(text for text in texts if isinstance(text, str))


def get_last_user_input_text(input_items: Sequence[Json]) -> str | None:
    """The same for the input items of the Responses API."""
    return get_last_user_message(item for item in input_items if item.get("type", "message") == "message")


def get_input_files(input_items: Sequence[Json]) -> list[Json]:
    """The `input_file` parts of a user's items that name a file by `file_id`."""
    parts = [
        part
        for item in input_items
        if is_user_message(item) and isinstance(item.get("content"), list)
        for part in cast(list[Json], item["content"])
    ]
    return [part for part in parts if part.get("type") == "input_file" and part.get("file_id")]


def items_of(body: Json) -> list[Json]:
    """The input items of a request to the Responses API; chat messages are such items, as they are."""
    given = body.get("input", body.get("messages"))
    if not isinstance(given, str):
        return given or []
    return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]


def messages_of(body: Json) -> list[Json]:
    """The chat messages of a request to either API; `instructions` come first, as the system's."""
    if "messages" in body:
        return body["messages"]
    instructions = body.get("instructions")
    system = [{"role": "system", "content": instructions}] if instructions else []
    return [*system, *as_messages(items_of(body))]


def as_messages(items: Iterable[Json]) -> list[Json]:
    """Chat messages from input items; items that have no counterpart (reasoning, references) are left out."""
    messages: list[Json] = []
    for item in items:
        match item.get("type", "message"):
            case "message":
                messages.append({"role": item.get("role"), "content": _content(item.get("content"))})
            case "function_call":
                function = {"name": item.get("name"), "arguments": item.get("arguments") or "{}"}
                call = {"id": item.get("call_id"), "type": "function", "function": function}
                if messages and messages[-1].get("tool_calls"):  # calls that were made together
                    messages[-1]["tool_calls"].append(call)
                else:
                    messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            case "function_call_output":
                output = {"tool_call_id": item.get("call_id"), "content": _content(item.get("output"))}
                messages.append({"role": "tool", **output})
            case _:
                pass
    return messages


def _content(content: Any) -> Any:
    """Content parts under the names that chat messages have for them; only text is one text."""
    if not isinstance(content, list):
        return content
    parts = [_part(part) for part in cast(list[Json], content)]
    if all(part.get("type") == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Json) -> Json:
    match part.get("type"):
        case "input_image":
            return {"type": "image_url", "image_url": {"url": part.get("image_url")}}
        case "input_file":
            return {"type": "file", "file": {key: part[key] for key in part if key != "type"}}
        case kind if kind in _TEXTS:
            return {"type": "text", "text": str(part.get("text") or "")}
        case _:
            return part


def _field(message: Any, name: str) -> Any:
    return cast(Json, message).get(name) if isinstance(message, dict) else getattr(message, name, None)
