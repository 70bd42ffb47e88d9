"""What is checked on the way to the SDK where a connection is two streams: stdin and stdout, or `/sse`."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from types import TracebackType
from typing import Any, Self

import anyio
import mcp_types as types
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

Received = SessionMessage | Exception
"""What the transport made of what the client sent: a message, or why it is none."""


class Unread(Exception):
    """What the transport has in place of a message that it did not read to its end; its text says why."""


def unheard() -> None:
    """Nobody wants to know."""


class Stream:
    """One of the transport's streams, with all that the SDK uses of it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class Answers(Stream):
    """What the server sends; knows which requests it has not answered yet."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.awaited: set[types.RequestId] = set()

    async def send(self, item: SessionMessage, /) -> None:
        if (
            isinstance(item.message, types.JSONRPCResponse | types.JSONRPCError)
            and item.message.id is not None
        ):
            self.awaited.discard(coerce_request_id(item.message.id))
        await self._stream.send(item)


class Messages(Stream):
    """What the client sends. What cannot be taken is answered here: the SDK drops it, or mixes it up."""

    def __init__(self, stream: Any, answers: Answers, heard: Callable[[], None]) -> None:
        super().__init__(stream)
        self._answers = answers
        self._heard = heard

    @property
    def last_context(self) -> Context | None:
        """Of whoever sent the latest message."""
        return getattr(self._stream, "last_context", None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        while fault := self._fault(item := await anext(self._stream)):
            self._heard()
            await self._answers.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=None, error=fault)))
        self._heard()
        return item

    async def receive(self) -> Received:
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    def _fault(self, item: Received) -> types.ErrorData | None:
        if fault := fault_of(item):
            return fault
        awaited = self._answers.awaited
        match item:
            case SessionMessage(message=types.JSONRPCRequest(id=identity)):
                if coerce_request_id(identity) in awaited:
                    return invalid("A request with this id is still in flight.")
                awaited.add(coerce_request_id(identity))
            case SessionMessage(
                message=types.JSONRPCNotification(
                    method="notifications/cancelled", params={"requestId": str() | int() as identity}
                )
            ):
                awaited.discard(coerce_request_id(identity))  # it may never be answered
            case _:
                pass
        return None


def checked(streams: tuple[Any, Any], heard: Callable[[], None] = unheard) -> tuple[Messages, Answers]:
    """The two streams of a connection, checked; `heard` is told of everything the client sends."""
    answers = Answers(streams[1])
    return Messages(streams[0], answers, heard), answers


def fault_of(item: Received) -> types.ErrorData | None:
    """Why this is no message (JSON-RPC 2.0, section 5); None if it is one.

    A request with an illegal id reads as a notification, whose method would begin with `notifications/`.
    """
    match item:
        case ValidationError() if isinstance(reason := item.errors()[0]["input"], Unread):
            return invalid(str(reason))
        case ValidationError() if item.errors()[0]["type"] == "json_invalid":
            return types.ErrorData(code=types.PARSE_ERROR, message="This is not JSON.")
        case Exception():
            return invalid("This is not one JSON-RPC 2.0 message.")
        case SessionMessage(message=types.JSONRPCNotification(method=method)):
            legal = method.startswith("notifications/")
            return None if legal else invalid("The id must be a string or an integer, and not null.")
        case _:
            return None


def invalid(text: str) -> types.ErrorData:
    """The error for a message that cannot be taken."""
    return types.ErrorData(code=types.INVALID_REQUEST, message=text)
