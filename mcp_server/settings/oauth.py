"""The authorization server whose access tokens are accepted."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, field_validator, model_validator
from pydantic_settings import NoDecode

from .addresses import secure
from .section import Section


class OAuth(Section):
    """OAuth 2.1: this server is a resource server, and never hands out tokens itself."""

    oauth_issuer: str | None = Field(
        None,
        description="The authorization server, as its tokens name it (`iss`); https, or http on loopback.",
    )
    oauth_jwks_url: str | None = Field(
        None, description="Where it has the keys that its tokens are signed with (JWKS)."
    )
    oauth_resource: str | None = Field(
        None,
        description="Where clients reach this server, such as https://mcp.example.com: whom tokens are for.",
    )
    oauth_scopes: Annotated[dict[str, str] | None, NoDecode] = Field(
        None, description="What its scopes mean here, such as `mcp:use` to `run`: a table or JSON."
    )

    @field_validator("oauth_issuer", "oauth_jwks_url", "oauth_resource")
    @classmethod
    def _secure(cls, value: str | None) -> str | None:
        if value is not None:
            secure(value)
        return value

    @field_validator("oauth_scopes", mode="before")
    @classmethod
    def _mapping(cls, value: object) -> object:
        """A table as the file has it, or JSON."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("is no JSON") from None

    @model_validator(mode="after")
    def _together(self) -> OAuth:
        given = [self.oauth_issuer, self.oauth_jwks_url, self.oauth_resource]
        if any(given) and not all(given):
            raise ValueError("oauth_issuer, oauth_jwks_url and oauth_resource go together")
        return self
