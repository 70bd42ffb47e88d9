"""Asking one chat generator: streamed, asked again when an error may pass, another when it does not."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from haystack.dataclasses import ChatMessage, StreamingChunk
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from ..models import Json, Response, Tokens
from .context import Context
from .haystack import reason
from .step_definition import Price
from .usage import tokens_in

CLOSING = 5.0
"""Seconds an async client gets to close."""
SLOWEST = 8.0
"""Seconds between two tries at most; the first pause is up to half a second, then it doubles."""

_PASSING = frozenset({408, 409, 425, 429})
_LOST = frozenset({"APIConnectionError", "APITimeoutError", "TransportError", "Timeout", "ConnectError"})
"""Names of exceptions of client libraries that mean the provider was not reached."""


@dataclass(frozen=True)
class Asker:
    """A declared model that can be asked."""

    name: str
    generator: Any
    price: Price | None = None

    async def reply(self, messages: Sequence[ChatMessage], context: Context, source: str) -> ChatMessage:
        """Its reply, streamed under the name `source`. Raises what the generator raises."""
        streams = "streaming_callback" in inspect.signature(self.generator.run).parameters

        def tell(chunk: StreamingChunk) -> None:
            context.chunk(chunk.content or "", source=source)

        async def tell_later(chunk: StreamingChunk) -> None:
            tell(chunk)

        if hasattr(self.generator, "run_async"):
            more = {"streaming_callback": tell_later} if streams else {}
            given = await self.generator.run_async(messages=[*messages], **more)
        else:
            more = {"streaming_callback": tell} if streams else {}
            given = await asyncio.to_thread(self.generator.run, messages=[*messages], **more)
        if not given["replies"]:
            raise ValueError("the model gave no reply")
        return given["replies"][0]

    def close(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Close its clients; blocking, so never on `loop`, where its async client was used if at all."""
        if hasattr(self.generator, "close"):
            self.generator.close()
        if loop is not None and not loop.is_closed() and hasattr(self.generator, "close_async"):
            closing = asyncio.run_coroutine_threadsafe(self.generator.close_async(), loop)
            with suppress(TimeoutError):  # a client that hangs must not keep its host
                closing.result(CLOSING)


class Asking:
    """One prompt put to a model, and to others when it fails."""

    def __init__(self, askers: Sequence[Asker], messages: Sequence[ChatMessage], context: Context) -> None:
        """`askers` are asked in turn until one replies."""
        self._askers = askers
        self._messages = messages
        self._context = context
        self._notes: list[str] = []

    async def response(self, index: int, retries: int) -> Response:
        """The response at `index`. Never raises for a model's fault: that is the response's `error`."""
        started, failure = time.monotonic(), ""
        first = self._askers[0].name
        known: Json = {"index": index, "asked": first, "prompt": shown(self._messages)}
        for asker in self._askers:
            if asker.name != first:
                self._notes.append(f"falling back to {asker.name}")
            try:
                reply = await self._patiently(asker, retries)
            except Exception as error:  # a provider's client may raise anything
                failure = f"{asker.name}: {reason(error)}"
                self._notes.append(failure)
                continue
            return Response(**known, **said(asker, reply), **self._told(started))
        return Response(**known, model=self._askers[-1].name, error=failure, **self._told(started))

    async def _patiently(self, asker: Asker, retries: int) -> ChatMessage:
        again = AsyncRetrying(
            stop=stop_after_attempt(1 + retries),
            wait=wait_random_exponential(multiplier=0.5, max=SLOWEST),
            retry=retry_if_exception(may_pass),
            before_sleep=lambda state: self._failed(asker, state),
            reraise=True,
        )
        return await again(asker.reply, self._messages, self._context, self._askers[0].name)

    def _failed(self, asker: Asker, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._notes.append(f"{asker.name}: {reason(error) if error else 'failed'}; asked again")

    def _told(self, started: float) -> Json:
        return {"seconds": round(time.monotonic() - started, 3), "notes": tuple(self._notes)}


def may_pass(error: BaseException) -> bool:
    """True for an error that another try may not meet: overload, a lost connection, a fault of the server."""
    cause: BaseException | None = error
    while cause is not None:
        status = getattr(cause, "status_code", None) or getattr(
            getattr(cause, "response", None), "status_code", None
        )
        if isinstance(status, int):
            return status in _PASSING or status >= 500
        names = {kind.__name__ for kind in type(cause).__mro__}
        if isinstance(cause, ConnectionError | TimeoutError) or names & _LOST:
            return True
        cause = cause.__cause__
    return False


def shown(messages: Sequence[ChatMessage]) -> str:
    """A prompt as text: the user's message alone, or each message under its role."""
    if len(messages) == 1:
        return messages[0].text or ""
    return "\n\n".join(f"{message.role.value}: {message.text or ''}" for message in messages)


def said(asker: Asker, reply: ChatMessage) -> Json:
    """What a reply adds to a response: text, tokens, cost."""
    tokens = tokens_in(reply.meta.get("usage"))
    return {
        "model": asker.name,
        "text": reply.text or "",
        "tokens": tokens,
        "cost": cost(tokens, asker.price) if tokens and asker.price else None,
    }


def cost(tokens: Tokens, price: Price) -> float:
    """In US dollars."""
    return round((tokens.input * price.input + tokens.output * price.output) / 1_000_000, 8)
