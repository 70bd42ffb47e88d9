"""Websockets of the listener: what a connection becomes, which keeps its place among the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from .protocol import Connection


class Socket(WebSocketsSansIOProtocol):
    """A connection that turned into a websocket."""

    def __init__(self, connection: Connection, **given: Any) -> None:
        super().__init__(**given)
        self._connection = connection

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._connection.left()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connection.stall()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._connection.flow_again()
