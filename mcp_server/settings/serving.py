"""What clients meet: addresses, ways in, what they are shown and told."""

from __future__ import annotations

import base64
import ipaddress
import json
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from ..models import Webhook
from .addresses import address
from .section import Names, Section

CREDENTIALS = frozenset({"authorization", "proxy-authorization", "x-api-key"})
"""Headers that prove to this server who calls."""


class Serving(Section):
    """The listener and the surfaces."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(1416, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    allowed_hosts: Names = Field(
        (), description="Further values of the Host header to answer to, as name or name:port."
    )
    allowed_origins: Names = Field(
        (), description="Web pages of other origins that may call, such as https://example.com."
    )
    trusted_proxies: Names = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host count."
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path under which a proxy serves this, and which it takes off, such as `/tools`.",
    )
    surfaces: Names = Field(
        (), description="Ways in that are served, separated by commas, such as `mcp,status`. Default: all."
    )
    shared_headers: Names = Field(
        (), description="HTTP headers that pipelines may see: their names, separated by commas."
    )
    tool_mode: Literal["auto", "direct", "search"] = Field(
        "auto", description="Whether pipelines are listed as tools, or searched; auto lists up to 20."
    )
    toolsets: Names = Field(
        (), description="Toolsets that /mcp, /sse and stdio serve: tags, separated by commas. Default: all."
    )
    express: bool = Field(
        True, description="Answer plain calls and lists over HTTP by a shorter way than the MCP SDK's."
    )
    partial_results: bool = Field(
        False, description="Send streamed text as partial results to clients that ask so; an experiment."
    )
    soft_deadline: float = Field(
        45.0,
        gt=0,
        description="Seconds after which a call is answered with the id of its run, which goes on.",
    )
    webhooks: Annotated[dict[Webhook, str] | None, NoDecode] = Field(
        None,
        description="Addresses to tell of `on_deploy`, `on_undeploy`, `on_error`, `on_run`: a table or JSON.",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="Signs webhooks: `whsec_`, then 24 to 64 bytes in base64."
    )
    drain_timeout: float = Field(
        20.0, ge=0, description="Seconds that calls in flight get when the server stops."
    )
    otlp_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector that gets spans and metrics, such as http://127.0.0.1:4318.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("warning", description="How much to log.")
    log_format: Literal["text", "json"] = Field("text", description="How lines of the log look, on stderr.")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            try:
                ipaddress.ip_network(each)
            except ValueError:
                raise ValueError(f"{each[:64]} is no address and no network") from None
        return value

    @field_validator("shared_headers")
    @classmethod
    def _no_credentials(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """A token is for this server and goes no further (MCP, authorization, "Token Passthrough")."""
        if kept := CREDENTIALS & {name.lower() for name in value}:
            raise ValueError(f"{min(kept)} holds a credential for this server; pipelines never get it")
        return value

    @field_validator("webhooks", mode="before")
    @classmethod
    def _table(cls, value: object) -> object:
        """A table as the file has it, or JSON."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("is no JSON") from None

    @field_validator("webhooks")
    @classmethod
    def _addresses(cls, value: dict[Webhook, str] | None) -> dict[Webhook, str] | None:
        for event, url in (value or {}).items():
            try:
                address(url)
            except ValueError as error:
                raise ValueError(f"{event} {error}") from None
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            prefix, _, key = value.get_secret_value().partition("_")
            try:
                fits = prefix == "whsec" and 24 <= len(base64.b64decode(key, validate=True)) <= 64
            except ValueError:
                fits = False
            if not fits:
                raise ValueError("must be `whsec_` and then 24 to 64 bytes in base64")
        return value
