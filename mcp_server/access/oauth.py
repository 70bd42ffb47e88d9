"""What is told of the authorization server that is trusted: metadata and challenges (RFC 9728, RFC 6750)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from ..models import Action, Caller, Json
from ..settings import Settings

WELL_KNOWN = "/.well-known/oauth-protected-resource"
MCP = "/mcp"
PREFIX = "oauth:"
"""How the names of callers begin who came with a token."""


class OAuth:
    """Only the two resources there are: the protocol's address, and the server as a whole."""

    def __init__(self, issuer: str, resource: str, scopes: Mapping[str, str] | None) -> None:
        self.issuer = issuer
        self.base = resource.rstrip("/")
        self.scopes: Mapping[str, str] = scopes or {action: action for action in get_args(Action)}
        """Our scope for each of the authorization server's."""

    @property
    def audiences(self) -> tuple[str, ...]:
        """Whom a token may be for (RFC 8707): each address of this server as clients write it."""
        return (self.base, f"{self.base}/", *(f"{self.base}{path}" for path in (MCP, f"{MCP}/", "/sse")))

    def metadata(self, path: str) -> Json:
        """The document of the resource at `path`: `/mcp`, or nothing for the whole server."""
        return {
            "resource": self.base + path,
            "authorization_servers": [self.issuer],
            "scopes_supported": sorted(self.scopes),
            "bearer_methods_supported": ["header"],
            "resource_name": "Haystack pipelines",
        }

    def parameters(self, path: str, need: Action) -> str:
        """What a challenge says beside its error: where the metadata is, and which scope to ask for."""
        suffix = MCP if path == MCP or path.startswith((f"{MCP}/", "/sse", "/messages")) else ""
        return f'scope="{self.scope_for(need)}", resource_metadata="{self.base}{WELL_KNOWN}{suffix}"'

    def scope_for(self, need: Action) -> str:
        """The authorization server's name for a scope; ours if it has none."""
        return next((theirs for theirs, ours in self.scopes.items() if ours == need), need)

    def knows(self, caller: Caller) -> bool:
        """True for a caller that came with a token."""
        return caller.name.startswith(PREFIX)


def challenge(scope: Mapping[str, Any], about: str = "", need: Action | None = None) -> str:
    """The value of WWW-Authenticate for a request (its ASGI scope), and why what came does not do.

    `need` is the scope that was missing.
    """
    oauth: OAuth | None = scope["state"].get("oauth")
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    plain = f'scope="{need}"' if need else ""
    more = oauth.parameters(path, need or "run") if oauth else plain
    return ", ".join(filter(None, ['Bearer realm="mcp-server"', about, more]))


def oauth_of(settings: Settings) -> OAuth | None:
    """The authorization server of the settings; None without one."""
    if settings.oauth_issuer is None or settings.oauth_resource is None:
        return None
    return OAuth(settings.oauth_issuer, settings.oauth_resource, settings.oauth_scopes)
