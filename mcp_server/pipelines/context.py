"""What a running pipeline can reach: its caller, progress, logs, the stream, questions. From any thread."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from contextvars import ContextVar
from functools import partial
from mimetypes import guess_type
from typing import Any, Protocol, TypeVar

from ..content.encoder import encode, valid
from ..models import (
    Answers,
    Artifact,
    Aside,
    Caller,
    Chunk,
    Client,
    Event,
    Json,
    Level,
    Log,
    Notice,
    Progress,
    Response,
    Upload,
)
from .questions import Ask, Form, Link, Roots, Sampling
from .rounds import Rounds, rounds, settled, settled_later

MISSING_CAPABILITY = -32021
"""The protocol's code for a request that needs what the client did not declare (2026-07-28, errors)."""

T = TypeVar("T")


class Put(Protocol):
    """Puts a question to the caller of a run; called from any thread."""

    def __call__(self, requests: Mapping[str, Json], *, parks: bool = False) -> Future[Answers]:
        """`parks` is true if its run may be stopped meanwhile, and replayed then."""
        ...


current: ContextVar[Context] = ContextVar("mcp_server.context")
"""The context of the run this code belongs to; threads started for the run inherit it."""


class Stopped(BaseException):
    """Raised inside a pipeline's code when its run was cancelled or ran out of time.

    A BaseException, so that a pipeline's own `except Exception` does not swallow it.
    """


class ProtocolError(Exception):
    """Raised by a pipeline to answer a call with a JSON-RPC error instead of a failed result.

    For what the program that calls must handle; what a model could mend by calling differently is an
    ordinary exception. Surfaces without JSON-RPC show the message.
    """

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Context:
    """One run, seen from inside. A wrapper method gets it by a parameter annotated `Context`.

    Every method may be called from async code and from threads. Only questions wait: called in a thread
    they give the answer, called on the event loop they give an awaitable of it.
    """

    rounds = 0
    """How often the pipeline returned questions."""
    _stopped = False
    _closing: ExitStack | None = None

    def __init__(
        self,
        run: str,
        caller: Caller,
        emit: Callable[[Event], None],
        client: Client | None = None,
        ask: Put | None = None,
    ) -> None:
        self.run = run
        self.caller = caller
        self._emit = emit
        self._client = client or Client()
        self._ask = ask
        self.artifacts: dict[str, Artifact] = {}
        """What the run leaves beside its result, by name."""
        self.answers: Mapping[str, Any] = {}
        """By key, the answers to the questions that the pipeline returned."""

    @property
    def closing(self) -> ExitStack:
        """What is closed when the run has ended."""
        if self._closing is None:
            self._closing = ExitStack()
        return self._closing

    def close(self) -> None:
        """Close what is to be closed, and ask nobody any more; called by the engine after the run."""
        self._ask = None  # or the call and this would hold each other until the garbage collector comes
        if self._closing is not None:
            self._closing.close()

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's HTTP headers that the operator lets pipelines see, by lower-case name."""
        return self._client.headers

    def upload(self, address: str) -> Upload | None:
        """The file that came with the call under an address."""
        return self._client.uploads.get(address)

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Say how far the run is: `done` of `total`, in any unit, rising; only finite numbers are sent."""
        self.check()
        known = total if total is not None and math.isfinite(total) else None
        self._emit(Progress(done=done if math.isfinite(done) else 0.0, total=known, message=message))

    def chunk(self, text: str, source: str | None = None) -> None:
        """Stream a piece of text, tagged with the component or model it comes from."""
        self.check()
        if text:
            self._emit(Chunk(text=text, source=source))

    def aside(self, aside: Aside) -> None:
        """Tell a chat something beside the text."""
        self.check()
        self._emit(aside)

    def respond(self, response: Response) -> None:
        """Hand over what a model said to the prompt of a step."""
        self.check()
        self._emit(response)

    def log(self, level: Level, data: Any, logger: str | None = None) -> None:
        """Send the caller a log line: a string or any JSON value."""
        self._emit(Log(level=level, data=data, logger=logger))

    def artifact(self, name: str, content: Any, mime_type: str | None = None) -> str:
        """Leave something beside the result, which links to it: a text, bytes, or any value as JSON.

        `name` is a file name; the same one again replaces it. The type is guessed from it unless given. Gives
        the address under which the caller can read it once the run has ended; one that fails leaves none.
        Raises `ValueError` for a name that is none.
        """
        if not 0 < len(name) <= 100 or not name.isprintable() or {"/", "\\"} & {*name}:
            raise ValueError("the name of an artifact is a file name of up to 100 characters")
        self.check()
        made = _artifact(name, content, mime_type)
        self.artifacts[name] = made
        return made.uri(self.run)

    def ask(self, message: str, schema: Any, *, key: str = "answer") -> Any:
        """Ask a person to fill in a form: `schema` is a flat JSON Schema or a pydantic model.

        Gives an `Answer`: true if accepted, then with `value` as the model. Content that does not fit it is
        asked for again, twice; then this raises `ValueError` that names the fields. So it does at once for
        fields that no form can have.
        """
        return self._settle({key: Form(message, schema)}, lambda answers: answers[key])

    def ask_url(self, message: str, url: str, *, key: str = "answer") -> Any:
        """Ask a person to visit a page. Gives an `Answer` without content."""
        return self._settle({key: Link(message, url)}, lambda answers: answers[key])

    def sample(
        self,
        prompt: str | list[Json],
        max_tokens: int = 1000,
        system: str | None = None,
        *,
        key: str = "sample",
    ) -> Any:
        """Have the client's own model complete a prompt. Gives its text."""
        return self._settle({key: Sampling(prompt, max_tokens, system)}, lambda answers: answers[key])

    def roots(self, *, key: str = "roots") -> Any:
        """The folders the client works in, as objects with `uri` and perhaps `name`."""
        return self._settle({key: Roots()}, lambda answers: answers[key])

    def ask_all(self, **questions: Ask) -> Any:
        """Ask several things in one round: `Form`, `Link`, `Sampling`, `Roots`. Gives the answers by name."""
        return self._settle(questions, lambda answers: answers)

    def ask_parked(self, questions: Mapping[str, Ask]) -> Any:
        """The same for what can be asked by whoever replays the run: it may be stopped while it waits."""
        return self._settle(questions, lambda answers: answers, parks=True)

    def hear(self, answers: Mapping[str, Any]) -> None:
        """Take the answers to what the pipeline returned."""
        self.answers, self.rounds = {**self.answers, **answers}, self.rounds + 1

    def can(self, capability: str) -> bool:
        """True if the caller's client declared the capability: `elicitation`, `sampling`, `roots`."""
        return capability in self._client.capabilities

    def require(self, capability: str) -> None:
        """End the call with the protocol's error for a missing capability unless the client declared it."""
        if not self.can(capability):
            message = f"This needs a client that declares {capability}."
            raise ProtocolError(MISSING_CAPABILITY, message, {"requiredCapabilities": {capability: {}}})

    def tools_changed(self) -> None:
        """Tell every client to list the tools again."""
        self._emit(Notice(what="tools"))

    def prompts_changed(self) -> None:
        """Tell every client to list the prompts again."""
        self._emit(Notice(what="prompts"))

    def resources_changed(self) -> None:
        """Tell every client to list the resources again."""
        self._emit(Notice(what="resources"))

    def resource_updated(self, uri: str) -> None:
        """Tell the clients that subscribed to this resource that it changed."""
        self._emit(Notice(what="resource", uri=uri))

    def close_stream(self) -> None:
        """Close the caller's response stream; it reconnects and receives the rest (2025-11-25 over HTTP)."""
        self._emit(Notice(what="stream"))

    @property
    def cancelled(self) -> bool:
        """True once the caller has gone or the time is up; long loops should look."""
        return self._stopped

    def check(self) -> None:
        """Raise `Stopped` if the run is to stop."""
        if self._stopped:
            raise Stopped

    def stop(self) -> None:
        """Ask the run to stop; called by the engine."""
        self._stopped = True

    def _settle(
        self, questions: Mapping[str, Ask], give: Callable[[dict[str, Any]], T], *, parks: bool = False
    ) -> T | Awaitable[T]:
        self.check()
        if self._ask is None:
            raise RuntimeError("nobody can be asked here")
        asking = rounds(partial(self._ask, parks=parks), questions)
        first = next(asking)
        if on_loop():
            return later(asking, first, give)
        try:
            return give(settled(asking, first))
        except CancelledError:
            raise Stopped from None


def _artifact(name: str, content: Any, mime_type: str | None) -> Artifact:
    match content:
        case str():
            data, usual = valid(content).encode(), "text/plain"
        case bytes() | bytearray():
            data, usual = bytes(content), "application/octet-stream"
        case _:
            data, usual = encode(content)[0], "application/json"
    return Artifact(name=name, mime_type=mime_type or guess_type(name)[0] or usual, content=data)


async def later(asking: Rounds, first: Future[Answers], give: Callable[[dict[str, Any]], T]) -> T:
    """What `give` makes of the answers, once they fit."""
    return give(await settled_later(asking, first))


def on_loop() -> bool:
    """True if this code runs on an event loop, which must not wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
