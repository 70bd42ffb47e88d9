"""Tokens of an authorization server: the good one is let in, twenty-five forged ones and more are not."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import httpx
import jwt
import pytest
from authorization_server import KID, AuthorizationServer, authorizing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from surfaces.test_http import HEADERS, INITIALIZE

from mcp_server.access.jwks import FLOOR, FRESH, Keys
from mcp_server.access.tokens import LEEWAY
from mcp_server.app import create_app
from mcp_server.authentication import LISTEN, Authentication
from mcp_server.settings import Settings

pytestmark = pytest.mark.anyio
LIMIT = 60.0
BASE = "http://127.0.0.1:1416"
HEAD = {"kid": KID, "typ": "at+jwt"}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[AuthorizationServer]:
    async with authorizing() as running:
        yield running


@pytest.fixture(scope="module")
async def http(
    issuer: AuthorizationServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server that trusts the issuer, in this process."""
    folder = tmp_path_factory.mktemp("pipelines")
    settings = Settings(
        folder=folder,
        state=folder / ".state",
        oauth_issuer=issuer.issuer,
        oauth_jwks_url=issuer.jwks_url,
        oauth_resource=BASE,
        oauth_scopes={"read": "read", "run": "run", "deploy": "deploy", "mcp:admin": "admin"},
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app), client_at(app, "127.0.0.1") as client:
        yield client


def client_at(app: Any, peer: str) -> httpx.AsyncClient:
    """A client with that address; each may fail a few times only."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app, client=(peer, 50_000)), base_url=BASE)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def raw(head: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    """A token put together by hand."""
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (head, claims)
    )
    return ".".join([*parts, signature])


OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
Forge = Callable[[AuthorizationServer], str]


def signed(server: AuthorizationServer, head: dict[str, Any] | None = None, **claims: Any) -> str:
    said = server.claims(BASE, **claims)
    said = {key: value for key, value in said.items() if value is not None}
    return jwt.encode(said, server.key, "RS256", {**HEAD, **(head or {})})


def public(server: AuthorizationServer) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return server.key.public_key().public_bytes(serialization.Encoding.PEM, form)


def own_key(server: AuthorizationServer) -> dict[str, Any]:
    """The attacker's key, to be brought along in the header."""
    return jwt.algorithms.RSAAlgorithm.to_jwk(OTHER.public_key(), as_dict=True)


def confused(server: AuthorizationServer) -> str:
    """Signed with the public key as if it were a secret; by hand, for libraries refuse to do it."""
    import hashlib
    import hmac

    body = raw({**HEAD, "alg": "HS256"}, server.claims(BASE)).rstrip(".")
    mac = hmac.new(public(server), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def with_other(
    server: AuthorizationServer, head: dict[str, Any], key: Any = OTHER, algorithm: str = "RS256"
) -> str:
    return jwt.encode(server.claims(BASE), key, algorithm, {**HEAD, **head})


FORGED: dict[str, Forge] = {
    "alg none": lambda s: raw({**HEAD, "alg": "none"}, s.claims(BASE)),
    "alg None": lambda s: raw({**HEAD, "alg": "None"}, s.claims(BASE)),
    "alg missing": lambda s: raw(HEAD, s.claims(BASE), "AAAA"),
    "no signature": lambda s: s.token(BASE).rpartition(".")[0] + ".",
    "HS256 with the public key": confused,
    "HS256 with an empty secret": lambda s: raw({**HEAD, "alg": "HS256"}, s.claims(BASE), "AAAA"),
    "another key": lambda s: with_other(s, {}),
    "another key, unknown kid": lambda s: with_other(s, {"kid": "other"}),
    "ES256 for a key of RSA": lambda s: with_other(s, {}, CURVE, "ES256"),
    "RS512 where the key says RS256": lambda s: jwt.encode(s.claims(BASE), s.key, "RS512", HEAD),
    "jwk in the header": lambda s: with_other(s, {"jwk": own_key(s)}),
    "jku in the header": lambda s: with_other(s, {"jku": "http://127.0.0.1:9/jwks"}),
    "x5u in the header": lambda s: signed(s, {"x5u": "http://127.0.0.1:9/cert"}),
    "crit in the header": lambda s: signed(s, {"crit": ["exp"]}),
    "kid as a path": lambda s: with_other(s, {"kid": "../../../../dev/null"}),
    "kid as an injection": lambda s: with_other(s, {"kid": "x' UNION SELECT 'k"}),
    "another audience": lambda s: signed(s, aud="https://elsewhere.example"),
    "no audience": lambda s: signed(s, aud=None),
    "an audience that only begins so": lambda s: signed(s, aud=f"{BASE}.evil.example"),
    "another issuer": lambda s: signed(s, iss="https://elsewhere.example"),
    "no issuer": lambda s: signed(s, iss=None),
    "expired": lambda s: signed(s, exp=int(time.time()) - 3600),
    "no expiry": lambda s: signed(s, exp=None),
    "not yet valid": lambda s: signed(s, nbf=int(time.time()) + 3600),
    "no subject": lambda s: signed(s, sub=None),
    "another claim than was signed": lambda s: ".".join(
        [(t := s.token(BASE).split("."))[0], raw({}, s.claims(BASE, sub="root")).split(".")[1], t[2]]
    ),
    "a bit of the signature": lambda s: (t := s.token(BASE))[:-4] + ("AAAA" if t[-4:] != "AAAA" else "BBBB"),
    "an id token by its type": lambda s: signed(s, {"typ": "dpop+jwt"}),
    "huge": lambda s: signed(s, sub="a" * 20_000),
    "deep": lambda s: "e30." + "A" * 100 + ".AAAA",
}


@pytest.mark.parametrize("kind", FORGED)
async def test_a_forged_token_is_refused(
    kind: str, http: httpx.AsyncClient, issuer: AuthorizationServer
) -> None:
    app: Any = http._transport.app  # type: ignore[attr-defined]
    async with client_at(app, f"127.0.1.{list(FORGED).index(kind)}") as stranger:
        answer = await stranger.get("/status", headers=bearer(FORGED[kind](issuer)))
    assert answer.status_code == 401, kind
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert answer.json()["detail"] == "Invalid or expired token"


async def test_a_good_token_is_let_in_for_what_its_scopes_say(
    http: httpx.AsyncClient, issuer: AuthorizationServer
) -> None:
    for audience in (BASE, f"{BASE}/mcp", ["https://other.example", f"{BASE}/"]):
        assert (await http.get("/status", headers=bearer(issuer.token(audience)))).status_code == 200
    undeploy = await http.post("/undeploy/greet", headers=bearer(issuer.token(BASE)))
    assert undeploy.status_code == 403
    said = undeploy.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in said and 'scope="deploy"' in said
    assert f'resource_metadata="{BASE}/.well-known/oauth-protected-resource"' in said
    allowed = await http.post("/undeploy/greet", headers=bearer(issuer.token(BASE, scope="deploy other")))
    assert allowed.status_code == 404
    admin = await http.post(
        "/undeploy/greet", headers=bearer(issuer.token(BASE, scope=None, scp=["mcp:admin"]))
    )
    assert admin.status_code == 404


async def test_without_a_token_a_client_learns_where_to_get_one(
    http: httpx.AsyncClient, issuer: AuthorizationServer
) -> None:
    for path, suffix in (("/mcp", "/mcp"), ("/mcp/manage", "/mcp"), ("/status", "")):
        answer = await http.get(path)
        assert answer.status_code == 401
        said = answer.headers["www-authenticate"]
        assert "error=" not in said and 'scope="run"' in said
        url = f"{BASE}/.well-known/oauth-protected-resource{suffix}"
        assert f'resource_metadata="{url}"' in said
        document = (await http.get(url)).json()
        assert document["resource"] == f"{BASE}{suffix}"
        assert document["authorization_servers"] == [issuer.issuer]
        assert document["scopes_supported"] == ["deploy", "mcp:admin", "read", "run"]
    for path in ("/authorize", "/token", "/register", "/.well-known/oauth-authorization-server"):
        assert (await http.get(path, headers=bearer(issuer.token(BASE)))).status_code == 404


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_keys_are_looked_for_rarely_and_a_new_one_is_found(issuer: AuthorizationServer) -> None:
    clock = Clock()
    keys, before = Keys(issuer.jwks_url, clock), issuer.looks
    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            for number in range(200):  # as many forged names are one look
                tasks.start_soon(keys.key, f"forged {number}", "RS256")
        assert await keys.key(KID, "RS256") is not None
        assert issuer.looks == before + 1
        clock.now += FLOOR + 1
        assert await keys.key("forged", "RS256") is None
        assert issuer.looks == before + 2
        known = issuer.document
        issuer.document = {"keys": [{**known["keys"][0], "kid": "second"}]}
        clock.now += FLOOR + 1
        assert await keys.key("second", "RS256") is not None
        assert await keys.key(KID, "RS256") is None, "it was withdrawn"
        issuer.document = {"nothing": 1}
        clock.now += FRESH + 1
        assert await keys.key("second", "RS256") is not None, "what was known counts until there is better"
        issuer.document = known


@pytest.mark.parametrize(
    "kind", ["redirect", "huge", "no json", "list", "secret", "weak", "encrypting", "slow", "refused"]
)
async def test_an_address_that_gives_no_keys_lets_nobody_in(kind: str, issuer: AuthorizationServer) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    good = issuer.document["keys"][0]
    bodies: dict[str, Any] = {
        "huge": {"keys": [good], "more": "a" * 300_000},
        "list": [good],
        "secret": {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": KID}]},
        "weak": {
            "keys": [{**jwt.algorithms.RSAAlgorithm.to_jwk(weak.public_key(), as_dict=True), "kid": KID}]
        },
        "encrypting": {"keys": [{**good, "use": "enc"}]},
    }

    async def answer(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if kind == "slow":
            await reader.read()
        body = b"{" if kind == "no json" else json.dumps(bodies.get(kind, {})).encode()
        status = f"302 Found\r\nLocation: {issuer.jwks_url}" if kind == "redirect" else "200 OK"
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )
        writer.close()

    import asyncio

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if kind == "refused":
        server.close()
    keys = Keys(f"http://127.0.0.1:{port}/jwks")
    with anyio.fail_after(LIMIT):
        try:
            found = await keys.key(KID, "RS256")
        except Exception as error:
            assert type(error).__name__ == "Unavailable"
            found = None
    server.close()
    assert found is None


async def test_what_a_token_opened_ends_with_it_but_a_call_goes_on(
    http: httpx.AsyncClient, issuer: AuthorizationServer
) -> None:
    app: Any = http._transport.app  # type: ignore[attr-defined]
    access = app.server.access
    soon = issuer.token(BASE, exp=int(time.time() + 4 - LEEWAY))
    head = [(b"authorization", f"Bearer {soon}".encode())]
    sent: dict[str, list[Any]] = {"websocket": [], "stream": [], "listener": [], "call": []}

    async def begins(scope: Any, receive: Any, send: Any) -> None:
        is_http = scope["type"] == "http"
        await send({"type": "http.response.start" if is_http else "websocket.accept"})
        await anyio.sleep(6 if scope.get("number") == 1 else 1e6)
        await send({"type": "http.response.body", "body": b"done"})

    async def opened(kind: str, **scope: Any) -> None:
        async def send(message: Any) -> None:
            sent[kind].append((message["type"], message.get("body")))

        one = Authentication(begins, access=access, denied=lambda event: None)
        await one({"path": "/x", "headers": head, "client": None, **scope}, anyio.sleep_forever, send)

    with anyio.fail_after(LIMIT):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(opened, "websocket", type="websocket"))
            tasks.start_soon(partial(opened, "stream", type="http", method="GET"))
            tasks.start_soon(partial(opened, "listener", type="http", method="POST", headers=[*head, LISTEN]))
            tasks.start_soon(partial(opened, "call", type="http", method="POST", number=1))
    begun = ("http.response.start", None)
    assert sent["websocket"] == [("websocket.accept", None), ("websocket.close", None)]
    assert sent["stream"] == sent["listener"] == [begun, ("http.response.body", None)]
    assert sent["call"] == [begun, ("http.response.body", b"done")]


async def test_sessions_end_with_the_last_token_of_their_caller(
    http: httpx.AsyncClient, issuer: AuthorizationServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.access.held.GRACE", 0.0)
    now = int(time.time())

    def headers(seconds: float, **more: str) -> dict[str, str]:
        return HEADERS | bearer(issuer.token(BASE, sub="bob", exp=int(now + seconds - LEEWAY))) | more

    opening = await http.post("/mcp", json=INITIALIZE, headers=headers(3))
    named = {"Mcp-Session-Id": opening.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    renewed = headers(8, **named)
    assert (await http.post("/mcp", json=ping, headers=renewed)).status_code == 200
    await anyio.sleep(now + 4.5 - time.time())
    assert (await http.post("/mcp", json=ping, headers=renewed)).status_code == 200, "the later token counts"
    await anyio.sleep(now + 9 - time.time())
    again = headers(60, **named)
    assert (await http.post("/mcp", json=ping, headers=again)).status_code == 404
