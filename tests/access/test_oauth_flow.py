"""The clients' own OAuth flow, from a refused call to a token, and on to one that allows more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
from authorization_server import AuthorizationServer, authorizing
from clients import Served, serve
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from postgresql import free_port
from pydantic import AnyUrl
from surfaces.conftest import wrapper

pytestmark = pytest.mark.anyio
LIMIT = 120.0
ECHO = '''
    shared_headers = ()

    def run_api(self, context: Context, text: str) -> str:
        """Gives the text back, with every header it can see."""
        return text + "".join(context.headers.values())
'''


@asynccontextmanager
async def trusting(folder: Path, issuer: AuthorizationServer, *flags: str) -> AsyncIterator[Served]:
    """A server that trusts the issuer, with a pipeline."""
    (folder / "echo").mkdir()
    (folder / "echo" / "pipeline_wrapper.py").write_text(wrapper(ECHO))
    port = str(free_port())
    trust = ["--oauth-issuer", issuer.issuer, "--oauth-jwks-url", issuer.jwks_url]
    async with serve(
        folder, *trust, "--oauth-resource", f"http://127.0.0.1:{port}", "--port", port, *flags
    ) as served:
        yield served


class Kept:
    """What a client keeps of the flow."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None
        self.granted: list[str | None] = []

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens
        self.granted.append(tokens.scope)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Person:
    """Opens the page of the authorization server, where everybody agrees at once."""

    async def opens(self, url: str) -> None:
        async with httpx2.AsyncClient() as browser:
            self.answer = (await browser.get(url)).headers["location"]

    async def comes_back(self) -> AuthorizationCodeResult:
        query = parse_qs(urlsplit(self.answer).query)
        return AuthorizationCodeResult(code=query["code"][0], state=query["state"][0])


@asynccontextmanager
async def client_of(served: Served, kept: Kept, mode: str) -> AsyncIterator[Client]:
    """A client of the Python SDK that goes through the flow when it must."""
    person = Person()
    metadata = OAuthClientMetadata(client_name="test", redirect_uris=[AnyUrl("http://127.0.0.1:9/callback")])
    flow = OAuthClientProvider(f"{served.url}/mcp", metadata, kept, person.opens, person.comes_back)
    async with httpx2.AsyncClient(auth=flow, timeout=60) as http:
        target = streamable_http_client(f"{served.url}/mcp", http_client=http)
        async with Client(target, mode=mode) as client:  # type: ignore[arg-type]
            yield client


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_python_client_gets_a_token_and_then_one_that_allows_more(mode: str, tmp_path: Path) -> None:
    kept = Kept()
    with anyio.fail_after(LIMIT):
        async with (
            authorizing() as issuer,
            trusting(tmp_path, issuer) as served,
            client_of(served, kept, mode) as client,
        ):
            said = await client.call_tool("echo", {"text": "hello"})
            assert said.structured_content == {"result": "hello"}
            gone = await client.call_tool("undeploy_pipeline", {"pipeline_name": "echo"})
            assert not gone.is_error, gone.content
    assert [set((each or "").split()) for each in kept.granted] == [{"run"}, {"run", "deploy"}]
    assert [set(scopes) for scopes in issuer.asked] == [{"run"}, {"run", "deploy"}]


async def test_a_token_is_given_to_no_pipeline(tmp_path: Path) -> None:
    async with authorizing() as issuer, trusting(tmp_path, issuer, "--shared-headers", "X-Tenant") as served:
        token = issuer.token(f"{served.url}/mcp")
        head = {"Authorization": f"Bearer {token}", "X-Tenant": "t1", "X-API-Key": token}
        async with httpx2.AsyncClient(headers=head, timeout=LIMIT) as http:
            said = await http.post(f"{served.url}/echo/run", json={"text": "seen: "})
    assert said.json() == {"result": "seen: t1"}
    assert token not in served.log.read_text() if served.log.exists() else True
