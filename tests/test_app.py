"""The application as others embed it: made, opened, mounted, restarted, and failing politely."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from mcp_server.app import create_app
from mcp_server.authentication import Authentication
from mcp_server.errors import Unusable
from mcp_server.server import Server
from mcp_server.settings import Settings
from mcp_server.surfaces import mcp

pytestmark = pytest.mark.anyio

WRAPPER = '''
from mcp_server import PipelineWrapper as Base


class PipelineWrapper(Base):
    def run_api(self, text: str) -> str:
        """Gives the text back."""
        return text
'''
HEADERS = {"Accept": "application/json, text/event-stream"}
CLIENT = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": CLIENT}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    folder = tmp_path / "pipelines"
    (folder / "echo").mkdir(parents=True)
    (folder / "echo" / "pipeline_wrapper.py").write_text(WRAPPER)
    return Settings(folder=folder, state=tmp_path / "state", engine="local")


@pytest.fixture
def app(settings: Settings) -> Starlette:
    return create_app(settings)


@asynccontextmanager
async def opened(app: Starlette) -> AsyncIterator[None]:
    with anyio.fail_after(60):
        async with app.router.lifespan_context(app):
            yield


def reach(app: Starlette) -> httpx.AsyncClient:
    """A client that calls the application in this process."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1416", headers=HEADERS)


async def assert_initializes(client: httpx.AsyncClient, path: str) -> None:
    """A session opens, and is closed again."""
    answer = await client.post(path, json=INITIALIZE)
    assert answer.status_code == 200
    session = {"Mcp-Session-Id": answer.headers["mcp-session-id"]}
    assert (await client.delete(path, headers=session)).status_code == 200


async def test_it_serves_while_its_lifespan_is_open(app: Starlette) -> None:
    async with opened(app), reach(app) as client:
        await app.server.catalog.ready(30)
        assert (await client.get("/status")).json()["pipelines"] == ["echo"]
        await assert_initializes(client, "/mcp")


async def test_after_its_lifespan_ended_it_says_so(app: Starlette) -> None:
    async with opened(app):
        pass
    async with reach(app) as client:
        answer = await client.post("/mcp", json=INITIALIZE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["error"]["type"] == "unavailable_error"


async def test_it_mounts_in_another_application(app: Starlette) -> None:
    outer = Starlette(routes=[Mount("/tools", app)], lifespan=lambda _: opened(app))
    async with opened(outer), reach(outer) as client:
        assert (await client.get("/tools/status")).status_code == 200
        await assert_initializes(client, "/tools/mcp")
        assert (await client.get("/tools/status", headers={"Host": "evil.example"})).status_code == 421


async def test_the_protocol_can_be_started_again_after_it_stopped(settings: Settings) -> None:
    async with Server(settings) as server:
        surface = mcp.surface(server)
        knowing = Middleware(Authentication, access=server.access, denied=server.audit.denied)
        app = Starlette(routes=surface.routes, middleware=[knowing])
        for _ in range(2):
            async with surface.lifespan(), reach(app) as client:
                await assert_initializes(client, "/mcp")


async def test_a_fault_of_ours_shows_no_detail(app: Starlette) -> None:
    async def fail(request: Request) -> Response:
        raise RuntimeError("secret")

    app.router.routes.append(Route("/fault", fail))
    async with opened(app), reach(app) as client:
        answer = await client.get("/fault", headers={"X-Request-ID": "seen"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["type"] == "server_error"
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "seen"


async def test_further_hosts_and_origins_can_be_allowed(settings: Settings) -> None:
    allowed = {"allowed_hosts": ("pipelines.example",), "allowed_origins": ("https://page.example",)}
    app = create_app(settings.model_copy(update={**allowed, "insecure_no_auth": True}))
    async with opened(app), reach(app) as client:
        headers = {"Host": "pipelines.example", "Origin": "https://page.example"}
        assert (await client.get("/nowhere", headers=headers)).status_code == 404
        other = headers | {"Host": "pipelines.example:1416"}
        assert (await client.get("/nowhere", headers=other)).status_code == 421
        page = headers | {"Origin": "https://other.example"}
        assert (await client.get("/nowhere", headers=page)).status_code == 403


async def test_only_the_chosen_surfaces_are_served(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"surfaces": ("status", "mcp")}))
    async with opened(app), reach(app) as client:
        assert (await client.get("/status")).status_code == 200
        await assert_initializes(client, "/mcp")
        assert (await client.post("/pipeline/start", json={})).status_code == 404


async def test_a_surface_that_is_not_there_is_refused_with_those_that_are(settings: Settings) -> None:
    with pytest.raises(Unusable, match=r"surfaces: there is no 'mpc'; there are mcp, status"):
        create_app(settings.model_copy(update={"surfaces": ("mpc",)}))


async def test_the_default_port_may_be_left_out_of_the_host(app: Starlette) -> None:
    transport = httpx.ASGITransport(app)
    async with opened(app), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for own in ("localhost", "127.0.0.1"):
            headers = {"Host": own, "Origin": f"http://{own}"}
            assert (await client.get("/nowhere", headers=headers)).status_code == 404
