"""From a request to a chat that goes on: which pipeline is the model, and what it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import orjson
from starlette.requests import Request

from ...access import sight
from ...catalog import Serving
from ...catalog.versions import version_number
from ...errors import NotFound
from ...models import Caller, Json, Run
from ...server import Server
from ..callers import caller_of
from ..listening import Listening, listen
from ..rest.bodies import client_of
from .errors import Refused, unknown_model

BEAT = 5.0
"""Seconds of silence after which a stream shows that it lives; a failure within them still has its status."""


@dataclass(frozen=True)
class Message:
    """What a chat came to; see `pipelines.speech.Speech`."""

    message: Json
    finish_reason: str
    usage: Json | None = None

    @property
    def text(self) -> str:
        """What it says."""
        return self.message.get("content") or ""

    def beyond(self, said: str) -> str:
        """What it says beyond what was told already; nothing if that went another way."""
        return self.text[len(said) :] if self.text.startswith(said) else ""

    @property
    def calls(self) -> list[Json]:
        """The tools that the client is to call."""
        return self.message.get("tool_calls", [])


def message_of(run: Run) -> Message:
    """What a chat came to that has ended well."""
    assert run.result is not None and run.result.structured is not None, "every chat ends with a message"
    return Message(**orjson.loads(run.result.structured))


async def ask(server: Server, request: Request, model: object, body: Json) -> Listening:
    """Begin the chat; it ends with the connection. Raises `Refused` for what is no model."""
    if not isinstance(model, str) or not model:
        raise Refused(400, "`model` must name a pipeline. GET /v1/models lists them.", "model")
    caller = caller_of(request, "openai")
    entry, version = await found(server, caller, model)
    begin = partial(
        server.runs.start,
        caller,
        entry.name,
        body,
        verb="chat",
        client=client_of(request, server.settings.shared_headers),
        request_id=request.state.request_id,
        version=version,
    )
    return await listen(server.runs, request, begin)


async def found(server: Server, caller: Caller, model: str) -> tuple[Serving, int | None]:
    """The pipeline that a model's name stands for, and the version it asks for: `name`, or `name@3`.

    Raises `Refused` if there is none that the caller may run, or if it takes no chats.
    """
    name, at, text = model.partition("@")
    version = version_number(text)
    if at and version is None:
        raise unknown_model(model)
    try:
        sight.check(caller, "run", name)
        entry = await server.catalog.find(name, version)
    except NotFound:
        raise unknown_model(model) from None
    if entry.version.manifest is None or "chat" not in entry.version.manifest.verbs:
        why = "is a pipeline without a chat method, and without one required text or list of messages"
        raise unknown_model(model, why)
    return entry, version


def check(conversation: object, param: str) -> None:
    """Raise `Refused` for what is no list of messages or items, each with a text or parts."""
    items = cast(list[Any], conversation) if isinstance(conversation, list) else []
    if not items or not all(isinstance(item, dict) for item in items):
        raise Refused(400, f"`{param}` must be a list of objects that is not empty.", param)
    for place, item in enumerate(cast(list[Json], items)):
        content = item.get("content")
        parts = cast(list[Any], content) if isinstance(content, list) else []
        if not isinstance(content, str | list | None) or not all(isinstance(part, dict) for part in parts):
            where = f"`{param}[{place}].content`"
            raise Refused(400, f"{where} must be a text, a list of objects, or null.", param)
        if param == "messages" and not isinstance(item.get("role"), str):
            raise Refused(400, f"`{param}[{place}].role` must be a text.", param)


def flag(body: Json, name: str) -> bool:
    """A member that is true or false; false without it. Raises `Refused`."""
    given = body.get(name)
    if given is not None and not isinstance(given, bool):
        raise Refused(400, f"`{name}` must be true or false.", name)
    return bool(given)
