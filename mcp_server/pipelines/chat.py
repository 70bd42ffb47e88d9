"""A wrapper that only chats, as a tool: one message in, the answer out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field

from ..models import Json


def as_tool(name: str, chat: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a message that calls `run_chat_completion` (or its async twin) of the pipeline `name`.

    The method gets what an OpenAI request would give it: model, all messages, and the request's body,
    which asks for a stream.
    """

    def run(
        message: Annotated[str, Field(description="What to say.")],
        messages: Annotated[
            list[Json],
            Field(description="The conversation so far, oldest first: objects with `role` and `content`."),
        ] = [],  # noqa: B006 - never changed
    ) -> Any:
        history = [*messages, {"role": "user", "content": message}]
        body = {"model": name, "messages": history, "stream": True}
        return chat(model=name, messages=history, body=body)

    return run
