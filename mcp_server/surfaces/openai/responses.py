"""The Responses API, whole or as events (OpenAI's API reference: Responses). It keeps no conversations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator

from starlette.requests import Request
from starlette.responses import Response

from ...models import Aside, Chunk, Event, Json
from ...server import Server
from ..listening import Listening, Stream
from ..operations import as_json
from ..rest.answers import RUN_ID
from ..rest.bodies import json_object
from ..sse import beat
from .asking import BEAT, Message, ask, check, flag, message_of
from .errors import FAILED, Refused, fault
from .items import MESSAGE, REASONING, Items, call_item, text_item

REPEATED = ("instructions", "metadata", "temperature", "top_p", "max_output_tokens", "previous_response_id")
"""What a response repeats of its request."""


class Responses:
    """What answers a request for a response."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def create(self, request: Request) -> Response:
        """Chat with the model that the body names."""
        body = await json_object(request)
        given = body.get("input")
        if not isinstance(given, str) or not given:
            check(given, "input")
        streams = flag(body, "stream")
        heard = await ask(self._server, request, body.get("model"), body)
        told = Told(heard, body)
        if streams:
            return await told.stream()
        await heard.end()
        if refused := fault(heard):
            raise refused
        return as_json(told.whole(), headers={RUN_ID: heard.run.id})


class Told:
    """One response, and how it is told."""

    def __init__(self, heard: Listening, body: Json) -> None:
        self._heard = heard
        self._body = body
        self._items = Items(heard.run.id)

    def whole(self) -> Json:
        """The response of a run that has ended well."""
        came, identity = message_of(self._heard.run), self._heard.run.id
        thoughts = came.message.get("reasoning_content")
        output = [text_item(REASONING, f"{identity}_0", thoughts)] if thoughts else []
        output += [text_item(MESSAGE, f"{identity}_1", came.text)] if came.text or not came.calls else []
        output += [call_item(f"{identity}_{at}", call) for at, call in enumerate(came.calls, 2)]
        return self._ended(came, output)

    async def stream(self) -> Response:
        """The response in events. What fails before the first of them has its status; raises `Refused`."""
        events = self._heard.with_beats(BEAT)
        first = await anext(events, None)
        if first is None and (refused := fault(self._heard)):
            raise refused
        headers = {RUN_ID: self._heard.run.id}
        return Stream(self._heard, self._pieces(first, events), "text/event-stream", headers)

    async def _pieces(
        self, first: Event | None, events: AsyncGenerator[Event | None]
    ) -> AsyncGenerator[bytes]:
        for state in ("created", "in_progress"):
            yield self._items.event(f"response.{state}", response=self._shown("in_progress"))
        yield self._told(first)
        async for event in events:
            yield self._told(event)
        refused = fault(self._heard)
        for piece in self._failed(refused) if refused else self._end(message_of(self._heard.run)):
            yield piece

    def _told(self, event: Event | None) -> bytes:
        """What a response shows of an event; a sign of life for anything else."""
        match event:
            case Chunk():
                return b"".join(self._items.add(MESSAGE, event.text))
            case Aside(display=None):
                return b"".join(self._items.add(REASONING, event.reasoning))
            case _:
                return beat()

    def _end(self, came: Message) -> Iterator[bytes]:
        """What was not told yet, and the whole."""
        if (thoughts := came.message.get("reasoning_content")) and not self._items.thought:
            yield from self._items.add(REASONING, thoughts)
        if rest := came.beyond(self._items.said):
            yield from self._items.add(MESSAGE, rest)
        yield from self._items.close()
        for call in came.calls:
            yield from self._items.call(call)
        ended = self._ended(came, self._items.done)
        yield self._items.event(f"response.{ended['status']}", response=ended)

    def _failed(self, refused: Refused) -> Iterator[bytes]:
        yield from self._items.close()
        error = {"code": refused.body["error"]["code"] or FAILED, "message": str(refused)}
        failed = self._shown("failed") | {"output": self._items.done, "error": error}
        yield self._items.event("response.failed", response=failed)

    def _ended(self, came: Message, output: list[Json]) -> Json:
        cut = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(came.finish_reason)
        shown = self._shown("incomplete" if cut else "completed") | {"output": output}
        shown |= {"incomplete_details": {"reason": cut}} if cut else {}
        return shown | ({"usage": usage_of(came.usage)} if came.usage else {})

    def _shown(self, status: str) -> Json:
        return {
            "id": f"resp_{self._heard.run.id}",
            "object": "response",
            "created_at": int(self._heard.run.started),
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self._body["model"],
            "output": [],
            "parallel_tool_calls": self._body.get("parallel_tool_calls", True),
            "tool_choice": self._body.get("tool_choice", "auto"),
            "tools": self._body.get("tools", []),
            **{name: self._body.get(name) for name in REPEATED},
        }


def usage_of(usage: Json) -> Json:
    """Usage by this API's names. What of it was cached or reasoning is not known: 0."""
    return {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
