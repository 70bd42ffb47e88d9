"""What proxies say of their clients: believed of listed ones only; and pages of listed origins may call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mcp_server.app import create_app
from mcp_server.errors import Unusable
from mcp_server.proxies import Forwarded, Trusted
from mcp_server.settings import Settings, given

pytestmark = pytest.mark.anyio

PROXY, CLIENT, ORIGIN = "10.0.0.5", "203.0.113.7", "https://inspector.example"


async def seen(request: Request) -> JSONResponse:
    assert request.client is not None
    return JSONResponse([request.client.host, request.url.scheme, request.headers["host"]])


async def told(peer: str, **headers: str) -> list[str]:
    """What a route sees of a request that came from `peer`."""
    middleware = [Middleware(Forwarded, trusted=Trusted(["10.0.0.0/24", "::1"]))]
    app = Starlette(routes=[Route("/", seen)], middleware=middleware)
    transport = httpx.ASGITransport(app, client=(peer, 5))
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(transport=transport, base_url="http://inside") as http:
        return (await http.get("/", headers=lines)).json()


async def test_a_listed_proxy_tells_address_scheme_and_host_of_its_client() -> None:
    headers = {"x_forwarded_for": CLIENT, "x_forwarded_proto": "https", "x_forwarded_host": "tools.example"}
    assert await told(PROXY, **headers) == [CLIENT, "https", "tools.example"]
    assert await told("::1", **headers) == [CLIENT, "https", "tools.example"]


async def test_any_other_is_not_believed() -> None:
    headers = {"x_forwarded_for": CLIENT, "x_forwarded_proto": "https", "x_forwarded_host": "tools.example"}
    for peer in ("10.0.1.5", "127.0.0.1", "testclient"):
        assert await told(peer, **headers) == [peer, "http", "inside"]


async def test_what_the_client_made_up_before_the_proxies_does_not_count() -> None:
    assert (await told(PROXY, x_forwarded_for=f"127.0.0.1, {CLIENT}, 10.0.0.9"))[0] == CLIENT
    assert (await told(PROXY, x_forwarded_for="10.0.0.8, 10.0.0.9"))[0] == "10.0.0.8"
    assert await told(PROXY, x_forwarded_proto="gopher") == [PROXY, "http", "inside"]


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(Unusable, match=r"trusted_proxies: .*`?nginx"):
        given(trusted_proxies="nginx")


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client in this process of a server that allows one origin."""
    settings = Settings(folder=tmp_path, state=tmp_path, allowed_origins=(ORIGIN,), surfaces=("status",))
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    with anyio.fail_after(60):
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1416") as client,
        ):
            yield client


ASKS = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type, mcp-session-id",
}


async def test_a_browser_may_let_pages_of_a_listed_origin_call(http: httpx.AsyncClient) -> None:
    answer = await http.options("/mcp", headers=ASKS)
    assert answer.status_code == 204 and answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-headers"] == "content-type, mcp-session-id"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    read = await http.get("/nowhere", headers={"Origin": ORIGIN})
    assert read.headers["access-control-allow-origin"] == ORIGIN and read.headers["vary"] == "Origin"
    assert "Mcp-Session-Id" in read.headers["access-control-expose-headers"]


async def test_no_other_origin_is_told_anything(http: httpx.AsyncClient) -> None:
    for origin in ("https://evil.example", f"{ORIGIN}.evil.example", "null", "http://inspector.example"):
        for answer in (
            await http.options("/mcp", headers={**ASKS, "Origin": origin}),
            await http.get("/status", headers={"Origin": origin}),
        ):
            assert answer.status_code == 403
            assert not any(name.startswith("access-control") for name in answer.headers)
    foreign = await http.options("/mcp", headers={**ASKS, "Host": "evil.example"})
    assert foreign.status_code == 421
    own = await http.get("/nowhere", headers={"Origin": "http://127.0.0.1:1416"})
    assert not any(name.startswith("access-control") for name in own.headers)


async def test_browsers_are_told_not_to_guess_types_and_to_keep_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.get("/nowhere")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
