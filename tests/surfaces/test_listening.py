"""A run for one HTTP request: heard while it goes, stopped when its client leaves, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import httpx
import pytest
import uvicorn
from clients import until
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mcp_server.models import Caller, Chunk
from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces.listening import Listening, Stream, listen

from .conftest import wrapper

pytestmark = pytest.mark.anyio

LIMIT = 30.0
FLOOD = '''
def run_api(self, count: int) -> str:
    """Streams as fast as it can."""
    for number in range(count):
        yield f"{number} " * 100
'''


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def pipelines(folder: Path) -> Path:
    (folder / "flood").mkdir()
    (folder / "flood" / "pipeline_wrapper.py").write_text(wrapper(FLOOD))
    return folder


async def answer(server: Server, request: Request) -> Response:
    """Runs the pipeline with the body as its arguments; with `?stream` its text as it comes."""
    begin = partial(
        server.runs.start, Caller(origin="rest"), request.path_params["name"], await request.json()
    )
    heard = await listen(server.runs, request, begin, float(request.query_params.get("within", 60)))
    if "stream" in request.query_params:
        return Stream(heard, text(heard), "text/plain")
    await heard.end()
    return JSONResponse({"id": heard.run.id, "status": heard.run.status})


async def text(heard: Listening) -> AsyncGenerator[bytes]:
    async for event in heard:
        if isinstance(event, Chunk):
            yield event.text.encode()
    yield heard.run.status.encode()


async def nobody(request: Request, error: Exception) -> Response:
    return Response(status_code=499)


@pytest.fixture(scope="module")
async def server(pipelines: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    settings = Settings(folder=pipelines, state=tmp_path_factory.mktemp("state"))
    async with Server(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
async def http(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(
        routes=[Route("/{name}", partial(answer, server), methods=["POST"])],
        exception_handlers={ClientDisconnect: nobody},
    )
    listener = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    task = asyncio.create_task(running.serve([listener]))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=LIMIT) as client:
        yield client
    running.should_exit = True
    await task
    listener.close()


async def status(server: Server, pipeline: str) -> str | None:
    page = await server.runs.past.list(Caller(origin="rest"), pipeline=pipeline, limit=1)
    return page.runs[0].status if page.runs else None


async def test_the_end_is_awaited(http: httpx.AsyncClient) -> None:
    assert (await http.post("/echo", json={"text": "a"})).json()["status"] == "done"


async def test_text_comes_while_the_run_goes_and_all_of_it_in_order(http: httpx.AsyncClient) -> None:
    pieces: list[str] = []
    async with http.stream("POST", "/words?stream", json={"count": 20}) as response:
        async for piece in response.aiter_text():
            pieces.append(piece)
    assert len(pieces) > 2
    assert "".join(pieces) == "".join(f"word{number} " for number in range(20)) + "done"


async def test_a_slow_client_gets_everything_too(http: httpx.AsyncClient) -> None:
    size = 0
    async with http.stream("POST", "/flood?stream", json={"count": 5000}) as response:
        async for piece in response.aiter_bytes():
            size += len(piece)
            if size < 100_000:
                await anyio.sleep(0.05)
    assert size == sum(100 * len(f"{number} ") for number in range(5000)) + len("done")


@pytest.mark.parametrize("query", ["", "?stream"])
async def test_a_client_that_leaves_before_the_first_byte_stops_the_run(
    query: str, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    files = {"started": str(tmp_path / "started"), "stopped": str(tmp_path / "stopped")}
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(http.post(f"/wait{query}", json=files))
        await until((anyio.Path(tmp_path) / "started").exists, LIMIT)
        asking.cancel()
    await until((anyio.Path(tmp_path) / "stopped").exists, LIMIT)


async def test_a_client_that_leaves_mid_stream_stops_the_run(http: httpx.AsyncClient, server: Server) -> None:
    async with http.stream("POST", "/words?stream", json={"count": 100_000}) as response:
        await anext(response.aiter_bytes())

    async def cancelled() -> bool:
        return await status(server, "words") == "cancelled"

    await until(cancelled, LIMIT)


async def test_a_run_over_its_deadline_goes_on_without_its_client(
    http: httpx.AsyncClient, server: Server, tmp_path: Path
) -> None:
    files = {"started": str(tmp_path / "started"), "stopped": str(tmp_path / "stopped")}
    told = (await http.post("/wait?within=0.2", json=files)).json()
    assert told["status"] == "running"
    assert server.runs.live(told["id"]) is not None
    await server.runs.cancel(Caller(origin="rest"), told["id"])
