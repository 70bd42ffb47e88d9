"""Partial results (SEP-2998, a draft): streamed text before the result, for who turns it on and asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest
from clients import Mode, Served, serve, until
from mcp import ClientSession
from mcp.client.extension import NotificationBinding
from mcp.client.streamable_http import streamable_http_client
from pydantic import BaseModel, ConfigDict, Field

from mcp_server.surfaces.mcp.reports import TEXT

from .conftest import wrapper
from .test_streaming import WRAPPERS, is_so

pytestmark = pytest.mark.anyio

TOKEN = "p-1"


class Capabilities(types.ClientCapabilities):
    """What a client of the draft declares; the SDK does not know it."""

    partial_results: dict[str, Any] = Field(default_factory=dict)


class Opening(types.InitializeRequestParams):
    """The params of `initialize` with them."""

    capabilities: Capabilities  # pyright: ignore[reportIncompatibleVariableOverride]


class Part(BaseModel):
    """The params of `notifications/tools/partial_result`."""

    model_config = ConfigDict(extra="forbid")
    token: str | int = Field(alias="partialResultToken")
    seq: int
    content: list[types.TextContent]
    meta: dict[str, dict[str, str]] = Field(alias="_meta")


class Session(ClientSession):
    """The SDK's client, with the capability of the draft."""

    def _build_capabilities(self, version: str) -> types.ClientCapabilities:
        return Capabilities(**super()._build_capabilities(version).model_dump())

    async def send_request(self, request: Any, *more: Any, **options: Any) -> Any:
        if isinstance(request, types.InitializeRequest):
            params = Opening(**{**dict(request.params), "capabilities": Capabilities()})
            request = types.Request[Opening, str](method="initialize", params=params)
        return await super().send_request(request, *more, **options)


class Heard:
    """What one client heard beside results."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.messages: list[str] = []

    async def part(self, part: Part) -> None:
        self.parts.append(part)

    async def progress(self, done: float, total: float | None, message: str | None) -> None:
        self.messages.append(message or "")

    def text(self) -> dict[str, str]:
        """The text of the parts by the source they are tagged with; the SDK hands them over in any order."""
        said: defaultdict[str, str] = defaultdict(str)
        for part in sorted(self.parts, key=lambda part: part.seq):
            said[part.meta[TEXT].get("source", "")] += "".join(block.text for block in part.content)
        return dict(said)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pipelines")
    (made / "duet").mkdir()
    (made / "duet" / "pipeline_wrapper.py").write_text(wrapper(WRAPPERS["duet"]))
    return made


@pytest.fixture(scope="module")
async def trying(folder: Path) -> AsyncIterator[Served]:
    async with serve(folder, "--partial-results") as running:
        yield running


@pytest.fixture(params=["legacy", "auto"])
def mode(request: pytest.FixtureRequest) -> Mode:
    return request.param


@asynccontextmanager
async def connected(
    served: Served, mode: Mode, heard: Heard, kind: type[ClientSession] = Session
) -> AsyncIterator[ClientSession]:
    binding = NotificationBinding(
        method="notifications/tools/partial_result", params_type=Part, handler=heard.part
    )
    with anyio.fail_after(60):
        async with (
            streamable_http_client(f"{served.url}/mcp") as streams,
            kind(*streams, notification_bindings=[binding]) as session,
        ):
            await (session.initialize() if mode == "legacy" else session.discover())
            yield session


async def sung(
    session: ClientSession, heard: Heard, meta: Any = None, seconds: float = 1.0
) -> dict[str, str]:
    """What the duet gave; something of it has been heard by then."""
    result = await session.call_tool(
        "duet", {"seconds": seconds}, progress_callback=heard.progress, meta=meta
    )
    assert isinstance(result, types.CallToolResult) and not result.is_error
    assert result.structured_content is not None
    await until(is_so(lambda: bool(heard.parts or heard.messages)))
    return result.structured_content


async def test_who_asks_gets_the_text_in_numbered_parts_and_the_whole_result(
    trying: Served, mode: Mode
) -> None:
    heard = Heard()
    async with connected(trying, mode, heard) as session:
        whole = await sung(session, heard, {"partialResultToken": TOKEN})
        await until(is_so(lambda: heard.text() == whole))
    assert sorted(part.seq for part in heard.parts) == [*range(len(heard.parts))]
    assert {part.token for part in heard.parts} == {TOKEN}
    assert len(heard.parts) <= 20
    assert heard.messages == []


async def test_the_parts_of_each_call_are_numbered_by_themselves(trying: Served, mode: Mode) -> None:
    heard = Heard()
    async with connected(trying, mode, heard) as session:
        for token in (1, 2):
            await sung(session, heard, {"partialResultToken": token}, 0.1)
            await until(is_so(lambda token=token: any(part.token == token for part in heard.parts)))
    assert min(part.seq for part in heard.parts if part.token == 2) == 0


@pytest.mark.parametrize("meta", [None, {"partialResultToken": True}, {"partialResultToken": {}}])
async def test_without_a_token_text_comes_as_progress(trying: Served, mode: Mode, meta: Any) -> None:
    heard = Heard()
    async with connected(trying, mode, heard) as session:
        await sung(session, heard, meta, 0.1)
    assert heard.parts == [] and heard.messages != []


async def test_without_the_capability_text_comes_as_progress(trying: Served, mode: Mode) -> None:
    heard = Heard()
    async with connected(trying, mode, heard, ClientSession) as session:
        await sung(session, heard, {"partialResultToken": TOKEN}, 0.1)
    assert heard.parts == [] and heard.messages != []


async def test_without_the_setting_text_comes_as_progress(served: Served, mode: Mode) -> None:
    heard = Heard()
    async with connected(served, mode, heard) as session:
        await sung(session, heard, {"partialResultToken": TOKEN}, 0.1)
    assert heard.parts == [] and heard.messages != []
