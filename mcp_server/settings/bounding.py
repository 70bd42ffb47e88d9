"""How much of everything clients may have: bytes, seconds, connections, calls, sessions, streams."""

from __future__ import annotations

from pydantic import Field

from .section import Section


class Bounding(Section):
    """Sizes, deadlines and caps. They bound what the server spends on clients it knows nothing of."""

    body_limit: int = Field(1024 * 1024, ge=1024, description="Bytes a call may have.")
    chat_limit: int = Field(
        8 * 1024 * 1024, ge=1024, description="Bytes a request under `/v1` may have: images come inside it."
    )
    deploy_limit: int = Field(8 * 1024 * 1024, ge=1024, description="Bytes a deploy may have.")
    upload_limit: int = Field(100 * 1024 * 1024, ge=0, description="Bytes a form with files may have.")
    line_limit: int = Field(8 * 1024 * 1024, ge=1024, description="Bytes a line on stdin may have.")
    buffer_limit: int = Field(
        16 * 1024 * 1024, ge=1024, description="Bytes that bodies, forms aside, may take up at once."
    )
    header_limit: int = Field(64 * 1024, ge=1024, description="Bytes the headers of a request may have.")
    max_headers: int = Field(100, ge=16, description="Headers a request may have.")
    url_limit: int = Field(8 * 1024, ge=256, description="Bytes a URL may have.")
    header_timeout: float = Field(10.0, gt=0, description="Seconds the headers of a request may take.")
    body_timeout: float = Field(
        15.0, gt=0, description="Seconds a body may take, and one more for each 64 KiB that came."
    )
    keep_alive: float = Field(30.0, gt=0, description="Seconds a connection may wait for its next request.")
    send_timeout: float = Field(
        20.0, gt=0, description="Seconds a client may leave unread what it is sent before it is dropped."
    )
    max_connections: int = Field(1000, ge=1, description="Connections there may be.")
    max_connections_per_peer: int = Field(
        100, ge=1, description="Connections of one address; those of this machine are not counted."
    )
    max_calls: int = Field(512, ge=1, description="Calls that may be in flight; one more is told to wait.")
    max_calls_per_peer: int = Field(
        128, ge=1, description="Calls of one address; those of this machine are not counted."
    )
    max_sessions: int = Field(
        1000, ge=1, description="MCP sessions there may be; the one longest idle gives way to one more."
    )
    max_sessions_per_caller: int = Field(
        50, ge=1, description="Sessions of one caller or address; those of this machine are not counted."
    )
    session_idle: float = Field(600.0, gt=0, description="Seconds without a request that end a session.")
    session_unused: float = Field(
        60.0, gt=0, description="Seconds after which a session ends that was opened and not used."
    )
    session_age: float = Field(86400.0, gt=0, description="Seconds a session may last.")
    max_streams: int = Field(800, ge=1, description="Streams that may be open for clients which listen.")
    max_streams_per_caller: int = Field(
        64, ge=1, description="Such streams of one caller, or of one program on this machine."
    )
