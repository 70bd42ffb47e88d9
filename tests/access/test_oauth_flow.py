"""The clients' own OAuth flow, from a refused call to a token, and on to one that allows more."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
import pytest
from authorization_server import AuthorizationServer, authorizing
from clients import Served, serve, until
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
from surfaces.test_http import HEADERS
from surfaces.test_node_clients import node, run  # noqa: F401 - `node` is a fixture

from mcp_server.errors import Unusable
from mcp_server.store import audit_rows

pytestmark = pytest.mark.anyio
LIMIT = 120.0
ECHO = '''
    shared_headers = ()

    def run_api(self, context: Context, text: str) -> str:
        """Gives the text back, with every header it can see."""
        return text + "".join(context.headers.values())
'''


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[AuthorizationServer]:
    async with authorizing() as running:
        yield running


@pytest.fixture(scope="module")
async def served(
    issuer: AuthorizationServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Served]:
    """A server that trusts the issuer, with a pipeline that may see a header."""
    folder = tmp_path_factory.mktemp("pipelines")
    (folder / "echo").mkdir()
    (folder / "echo" / "pipeline_wrapper.py").write_text(wrapper(ECHO))
    port = str(free_port())
    flags = ["--oauth-issuer", issuer.issuer, "--oauth-jwks-url", issuer.jwks_url, "--port", port]
    flags += ["--oauth-resource", f"http://127.0.0.1:{port}", "--shared-headers", "X-Tenant"]
    async with serve(folder, *flags) as running:
        yield running


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
async def test_a_python_client_gets_a_token_and_then_one_that_allows_more(
    mode: str, issuer: AuthorizationServer, served: Served
) -> None:
    kept, before = Kept(), len(issuer.asked)
    with anyio.fail_after(LIMIT):
        async with client_of(served, kept, mode) as client:
            said = await client.call_tool("echo", {"text": "hello"})
            assert said.structured_content == {"result": "hello"}
            cleared = await client.call_tool("clear_cache", {})
            assert not cleared.is_error, cleared.content
    assert [set((each or "").split()) for each in kept.granted] == [{"run"}, {"run", "deploy"}]
    assert [set(scopes) for scopes in issuer.asked[before:]] == [{"run"}, {"run", "deploy"}]


@pytest.mark.parametrize("kind", ["v1", "legacy", "auto"])  # version 1, and version 2 in both modes
async def test_a_typescript_client_gets_a_token_and_then_one_that_allows_more(
    node: str,  # noqa: F811
    kind: str,
    served: Served,
) -> None:
    met = json.loads(await run(node, "oauth.mjs", kind, served.url))
    assert (met["echoed"], met["refused"]) == ({"result": "hello"}, False)
    first, second = (set(scopes.split()) for scopes in met["granted"])
    assert first == {"run"} and second - first == {"deploy"}


async def test_a_call_that_needs_another_token_is_in_the_audit_log(
    issuer: AuthorizationServer, served: Served
) -> None:
    head = {"Authorization": f"Bearer {issuer.token(f'{served.url}/mcp')}"}
    call = {"name": "undeploy_pipeline", "arguments": {"pipeline_name": "echo"}}
    async with httpx2.AsyncClient(headers=head | HEADERS, timeout=LIMIT) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        assert (await http.post(f"{served.url}/mcp", json=body)).status_code == 403

    async def noted() -> bool:
        with suppress(Unusable):  # there is no log yet
            found = audit_rows.look(
                served.state / "state.db", lambda each: audit_rows.listed(each, 100, None)
            )
            seen = {(each.event.action, each.event.origin, each.event.outcome) for each in found}
            return ("undeploy_pipeline", "mcp", "denied") in seen
        return False

    await until(noted, LIMIT)


async def test_a_token_is_given_to_no_pipeline(issuer: AuthorizationServer, served: Served) -> None:
    token = issuer.token(f"{served.url}/mcp")
    head = {"Authorization": f"Bearer {token}", "X-Tenant": "t1", "X-API-Key": token}
    async with httpx2.AsyncClient(headers=head, timeout=LIMIT) as http:
        said = await http.post(f"{served.url}/echo/run", json={"text": "seen: "})
    assert said.json() == {"result": "seen: t1"}
    assert token not in served.log.read_text()
