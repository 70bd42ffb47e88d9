"""A local server that speaks OpenAI's chat protocol, streaming and not, for pipelines that call a model.

Real HTTP on a free loopback port, in a thread. It answers with a function of the request and remembers
every request it got.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

KEY = "test-key"
MODEL = "test-model"
START_LIMIT = 10.0
"""Seconds the server may take until it listens."""


def echo(body: dict[str, Any]) -> str:
    """The last message, said back."""
    return f"You said: {body['messages'][-1]['content']}"


@dataclass
class OpenAIServer:
    """A running server. `url` is what OPENAI_BASE_URL wants."""

    url: str
    answer: Callable[[dict[str, Any]], str]
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The bodies of all chat requests, oldest first."""

    @property
    def environment(self) -> dict[str, str]:
        """What makes an OpenAI client use this server."""
        return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": self.url}

    async def models(self, request: Request) -> Response:
        if refused := self._refusal(request):
            return refused
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "tests"}
        return JSONResponse({"object": "list", "data": [model]})

    async def chat(self, request: Request) -> Response:
        if refused := self._refusal(request):
            return refused
        body = await request.json()
        self.requests.append(body)
        answer = self.answer(body)
        if not body.get("stream"):
            message = {"role": "assistant", "content": answer}
            return JSONResponse(_completion(body, "chat.completion", message=message) | {"usage": USAGE})
        return StreamingResponse(_events(body, answer), media_type="text/event-stream")

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {KEY}":
            return None
        error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": None}
        return JSONResponse({"error": error}, status_code=401)


USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def _completion(body: dict[str, Any], kind: str, finish: str | None = "stop", **said: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": kind,
        "created": int(time.time()),
        "model": body["model"],
        "choices": [{"index": 0, "finish_reason": finish, **said}],
    }


async def _events(body: dict[str, Any], answer: str) -> AsyncIterator[str]:
    """The answer word by word, as server-sent events."""
    kind = "chat.completion.chunk"
    for place, word in enumerate(answer.split(" ")):
        delta = {"role": "assistant", "content": word if place == 0 else f" {word}"}
        yield _event(_completion(body, kind, None, delta=delta))
    yield _event(_completion(body, kind, "stop", delta={}))
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _event(_completion(body, kind) | {"choices": [], "usage": USAGE})
    yield "data: [DONE]\n\n"


def _event(chunk: dict[str, Any]) -> str:
    return f"data: {json.dumps(chunk)}\n\n"


@contextmanager
def openai_server(answer: Callable[[dict[str, Any]], str] = echo) -> Iterator[OpenAIServer]:
    """Run a server until the block ends. `answer` gives the reply to the body of a chat request."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host, port = listener.getsockname()
        served = OpenAIServer(f"http://{host}:{port}/v1", answer)
        routes = [
            Route("/v1/models", served.models),
            Route("/v1/chat/completions", served.chat, methods=["POST"]),
        ]
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            _wait_for(server, thread)
            yield served
        finally:
            server.should_exit = True
            thread.join(START_LIMIT)


def _wait_for(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the OpenAI server for tests did not start")
        time.sleep(0.01)
