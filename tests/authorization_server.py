"""A real authorization server on loopback: discovery, dynamic registration, PKCE, signed tokens.

Its routes are the MCP SDK's, which check clients, codes and PKCE. It issues JWTs (RFC 9068) for the resource
that was asked for (RFC 8707), with the scopes that were asked for.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.routes import create_auth_routes
from mcp.server.auth.settings import ClientRegistrationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SCOPES = ["read", "run", "deploy", "admin"]
KID = "first"


@dataclass
class AuthorizationServer(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Everybody who comes is the user ada, and agrees."""

    url: str = ""
    key: Any = field(default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048))
    asked: list[list[str]] = field(default_factory=list)
    """The scopes of each request for authorization."""
    looks: int = 0
    """How often the keys were fetched."""
    clients: dict[str, OAuthClientInformationFull] = field(default_factory=dict)
    codes: dict[str, AuthorizationCode] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    """What the address of the keys gives."""

    def __post_init__(self) -> None:
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.document = {"keys": [{**public, "kid": KID, "use": "sig", "alg": "RS256"}]}

    @property
    def issuer(self) -> str:
        return f"{self.url}/"

    @property
    def jwks_url(self) -> str:
        return f"{self.url}/jwks"

    def claims(self, audience: Any, **more: Any) -> dict[str, Any]:
        """What a good token says."""
        now = int(time.time())
        known = {
            "iss": self.issuer,
            "aud": audience,
            "sub": "ada",
            "iat": now,
            "exp": now + 600,
            "scope": "run",
        }
        return known | more

    def token(self, audience: Any, **more: Any) -> str:
        """A good token."""
        return jwt.encode(self.claims(audience, **more), self.key, "RS256", {"kid": KID, "typ": "at+jwt"})

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        every = {"scope": " ".join(SCOPES)}  # what it asked for at first does not bind it
        self.clients[client_info.client_id] = client_info.model_copy(update=every)

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        self.asked.append(params.scopes or [])
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        self.codes[code.code] = code
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        scope = " ".join(authorization_code.scopes)
        return OAuthToken(
            access_token=self.token(authorization_code.resource, scope=scope),
            token_type="Bearer",
            expires_in=600,
            scope=scope,
        )

    async def keys(self, request: Request) -> Response:
        self.looks += 1
        return JSONResponse(self.document)

    def app(self) -> Starlette:
        options = ClientRegistrationOptions(enabled=True, valid_scopes=SCOPES, default_scopes=["read"])
        routes = create_auth_routes(self, AnyHttpUrl(self.issuer), client_registration_options=options)
        return Starlette(routes=[*routes, Route("/jwks", self.keys)])


@asynccontextmanager
async def authorizing() -> AsyncIterator[AuthorizationServer]:
    """Run one until the block ends."""
    config = uvicorn.Config(Starlette(), port=0, lifespan="off", log_config=None)
    listening = config.bind_socket()
    server = AuthorizationServer(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
    running = uvicorn.Server(uvicorn.Config(server.app(), lifespan="off", log_config=None))
    running.config.load()
    running.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(running.serve([listening]))
    try:
        while not running.started:
            await asyncio.sleep(0.01)
        yield server
    finally:
        running.should_exit = True
        await task
