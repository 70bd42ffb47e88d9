"""How a pipeline is chatted with as a model: by the methods its author wrote for it, or by its one input.

The inputs of a run of the verb `chat` are the body of a request to OpenAI's chat completions (`messages`) or
to its Responses API (`input`), as the client sent it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, cast

from pydantic import Field

from ..errors import Invalid
from ..models import Json, Run, Verb
from . import Work
from .arguments import Given, given_by
from .context import Context
from .conversation import get_last_user_message, items_of, messages_of
from .speech import Speech
from .streams import consumed, consumed_async
from .uploads import sent

COMPLETIONS = ("run_chat_completion_async", "run_chat_completion")
RESPONSES = ("run_response_async", "run_response")
UPLOAD = "run_file_upload"


def as_tool(name: str, chat: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a message that calls a chat method of the pipeline `name`.

    The method gets what an OpenAI request would give it: model, all messages or items, and the request's
    body, which asks for a stream.
    """
    items = "input_items" in inspect.signature(chat).parameters

    def run(
        message: Annotated[str, Field(description="What to say.")],
        messages: Annotated[
            list[Json],
            Field(description="The conversation so far, oldest first: objects with `role` and `content`."),
        ] = [],  # noqa: B006 - never changed
    ) -> Any:
        history = [*messages, {"role": "user", "content": message}]
        body = {"model": name, "input" if items else "messages": history, "stream": True}
        return chat(model=name, body=body, **{"input_items" if items else "messages": history})

    return run


@dataclass(frozen=True)
class Opening:
    """The one input of a pipeline that a chat can fill."""

    name: str
    whole: bool
    """True if it takes all messages, false if it takes the text of the user's last one."""

    def filled(self, body: Json) -> Json:
        """The arguments for a chat. Raises `Invalid` if there is no such text, or no such message."""
        messages = messages_of(body)
        if self.whole:
            return {self.name: [_haystack(message) for message in messages]}
        if not (text := get_last_user_message(messages)):
            raise Invalid("The chat has no message of the role `user` with a text.")
        return {self.name: text}


def opening(schema: Json) -> Opening | None:
    """The only required input, if it takes a text, or a list of chat messages."""
    required: list[str] = schema.get("required", [])
    if len(required) != 1:
        return None
    wanted = schema.get("properties", {}).get(required[0])
    if not isinstance(wanted, dict):  # a schema of the author's own may say less
        return None
    forms: list[Json] = cast(Json, wanted).get("anyOf") or [wanted]
    whole = any(map(_is_conversation, forms))
    return Opening(required[0], whole) if whole or any(map(_is_text, forms)) else None


def _is_conversation(schema: Json) -> bool:
    items = schema.get("items")
    return isinstance(items, dict) and {"role", "content"} <= cast(Json, items).get("properties", {}).keys()


def _is_text(schema: Json) -> bool:
    """True for any text; what has no type takes one too."""
    return schema.get("type", "string") == "string" and not {"enum", "const", "contentEncoding"} & {*schema}


def _haystack(message: Json) -> Json:
    """A message of OpenAI's as Haystack writes it."""
    from haystack.dataclasses import ChatMessage  # not for the process that only asks what a folder is

    try:
        return ChatMessage.from_openai_dict_format(message).to_dict()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid(f"A message cannot be read: {str(error)[:200]}") from error


@dataclass(frozen=True)
class Method:
    """A function of a wrapper's author, and whether it blocks."""

    function: Callable[..., Any]
    blocking: bool
    given: Mapping[str, Given] = field(default_factory=dict[str, Given])
    """Parameters of it that the server fills."""

    def work(self, arguments: Callable[[Context], Json]) -> Work:
        """Call it; what it gives or streams is said as in a chat."""

        def block(context: Context) -> Any:
            return consumed(self.function(**arguments(context)), Speech(context))

        async def await_it(context: Context) -> Any:
            return await consumed_async(self.function(**arguments(context)), Speech(context))

        return Work(self.blocking, block if self.blocking else await_it)


@dataclass(frozen=True)
class Chat:
    """What a wrapper offers besides calls. `tool` and `decode` are its function and arguments of calls."""

    methods: Mapping[str, Method]
    """Those of its chat methods and `run_file_upload` that it defines, by name."""
    tool: Method
    decode: Callable[[Json, Context], Json]
    opening: Opening | None

    @property
    def verbs(self) -> tuple[Verb, ...]:
        """What it can be asked for."""
        chats = self.opening or any(name in self.methods for name in (*COMPLETIONS, *RESPONSES))
        return (*(("chat",) if chats else ()), *(("upload",) if UPLOAD in self.methods else ()))

    def prepare(self, run: Run) -> Work:
        """The work of a chat or an upload. Raises `Invalid` for a chat that does not fit."""
        if run.verb == "upload":
            return self._upload(run.inputs)
        body = {"stream": False, **run.inputs}
        orders = (COMPLETIONS, RESPONSES) if "messages" in body else (RESPONSES, COMPLETIONS)
        name = next((name for names in orders for name in names if name in self.methods), None)
        if name is None:
            if self.opening is None:
                raise Invalid(f"{run.pipeline} takes no chats.")
            return self.tool.work(partial(self.decode, self.opening.filled(body)))
        said = {"input_items": items_of(body)} if name in RESPONSES else {"messages": messages_of(body)}
        method = self.methods[name]
        asked = {"model": run.pipeline, **said, "body": body}
        return method.work(lambda context: asked | given_by(method.given, context))

    def _upload(self, inputs: Json) -> Work:
        """`inputs` are the method's parameters; for the content stands the address of the file that came."""

        def keep(context: Context) -> Any:
            content = sent(inputs["content"]).path.read_bytes()
            return self.methods[UPLOAD].function(**{**inputs, "content": content})

        return Work(True, keep)
