"""Chat completions, whole or in chunks (OpenAI's API reference: Chat; Open WebUI: events beside the text)."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from ...content.encoder import dump
from ...models import Aside, Chunk, Event, Json
from ...server import Server
from ..listening import Listening, Stream
from ..operations import as_json
from ..rest.answers import RUN_ID
from ..rest.bodies import json_object
from ..sse import beat
from .asking import BEAT, Message, ask, check, flag, message_of
from .errors import fault


class Completions:
    """What answers a request for a chat completion."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def create(self, request: Request) -> Response:
        """Chat with the model that the body names."""
        body = await json_object(request)
        return await self._answered(request, body.get("model"), body)

    async def create_for(self, request: Request) -> Response:
        """Chat with the model that the path names."""
        name: str = request.path_params["name"]
        return await self._answered(request, name, await json_object(request) | {"model": name})

    async def _answered(self, request: Request, model: object, body: Json) -> Response:
        check(body.get("messages"), "messages")
        streams = flag(body, "stream")
        heard = await ask(self._server, request, model, body)
        told = Told(heard, str(model), _wants_usage(body))
        if streams:
            return await told.stream()
        await heard.end()
        if refused := fault(heard):
            raise refused
        return as_json(told.whole(), headers={RUN_ID: heard.run.id})


def _wants_usage(body: Json) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage"))  # pyright: ignore


class Told:
    """One completion, and how it is told."""

    def __init__(self, heard: Listening, model: str, usage: bool) -> None:
        self._heard = heard
        self._usage = usage
        self._head = {
            "id": f"chatcmpl-{heard.run.id}",
            "object": "chat.completion",
            "created": int(heard.run.started),
            "model": model,
        }
        self._said = ""
        self._thought = False

    def whole(self) -> Json:
        """The completion of a run that has ended well."""
        came = message_of(self._heard.run)
        choice = {"index": 0, "message": came.message, "logprobs": None, "finish_reason": came.finish_reason}
        return self._head | {"choices": [choice]} | ({"usage": came.usage} if came.usage else {})

    async def stream(self) -> Response:
        """The completion in chunks. What fails before the first of them has its status; raises `Refused`."""
        events = self._heard.with_beats(BEAT)
        first = await anext(events, None)
        if first is None and (refused := fault(self._heard)):
            raise refused
        headers = {RUN_ID: self._heard.run.id}
        return Stream(self._heard, self._frames(first, events), "text/event-stream", headers)

    async def _frames(
        self, first: Event | None, events: AsyncGenerator[Event | None]
    ) -> AsyncGenerator[bytes]:
        yield self._frame({"role": "assistant", "content": ""})
        yield self._told(first)
        async for event in events:
            yield self._told(event)
        if refused := fault(self._heard):
            yield framed(refused.body)
        else:
            for frame in self._end(message_of(self._heard.run)):
                yield frame
        yield b"data: [DONE]\n\n"

    def _told(self, event: Event | None) -> bytes:
        """What a chat shows of an event; a sign of life for anything else."""
        match event:
            case Chunk():
                self._said += event.text
                return self._frame({"content": event.text})
            case Aside(display=None):
                self._thought = True
                return self._frame({"reasoning_content": event.reasoning})
            case Aside():
                return framed(self._head | {"object": CHUNK, "choices": [], "event": event.display})
            case _:
                return beat()

    def _end(self, came: Message) -> list[bytes]:
        """What was not told yet of the message, why it ends, and what was used if that was asked for."""
        deltas: list[Json] = []
        if (thoughts := came.message.get("reasoning_content")) and not self._thought:
            deltas.append({"reasoning_content": thoughts})
        if rest := came.beyond(self._said):
            deltas.append({"content": rest})
        if came.calls:
            deltas.append({"tool_calls": [{"index": at, **call} for at, call in enumerate(came.calls)]})
        frames = [*map(self._frame, deltas), self._frame({}, came.finish_reason)]
        if self._usage and came.usage:
            frames.append(framed(self._head | {"object": CHUNK, "choices": [], "usage": came.usage}))
        return frames

    def _frame(self, delta: Json, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return framed(self._head | {"object": CHUNK, "choices": [choice]})


CHUNK = "chat.completion.chunk"


def framed(data: Json) -> bytes:
    """One item of the stream."""
    return b"data: " + dump(data) + b"\n\n"
