"""What a proxy in front of the server says of its clients: believed of those that are listed, of no other.

Anybody can send these headers. From a listed proxy they replace the address, the scheme and the host that the
connection shows, which are its own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Trusted:
    """The listed proxies."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: tuple[Network, ...] = tuple(ipaddress.ip_network(each) for each in networks)

    def __contains__(self, address: str) -> bool:
        try:
            place = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(place in network for network in self._networks)


class Forwarded:
    """ASGI middleware; only needed where a proxy is listed."""

    def __init__(self, app: ASGIApp, *, trusted: Trusted) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("client")
        if scope["type"] in ("http", "websocket") and peer is not None and peer[0] in self._trusted:
            scope = self._told(scope)
        await self._app(scope, receive, send)

    def _told(self, scope: Scope) -> Scope:
        """The scope as the proxy tells it."""
        client, proto, host = (last(scope, b"x-forwarded-" + name) for name in (b"for", b"proto", b"host"))
        told = dict(scope)
        if client:
            told["client"] = (self._client(scope), 0)
        if proto in ("http", "https"):
            told["scheme"] = proto.replace("http", "ws") if scope["type"] == "websocket" else proto
        if host:
            others = [each for each in scope["headers"] if each[0] != b"host"]
            told["headers"] = [(b"host", host.encode("latin-1")), *others]
        return told

    def _client(self, scope: Scope) -> str:
        """The nearest address that is none of the listed proxies': what is before it, it may have made up."""
        addresses = named(scope, b"x-forwarded-for")
        return next((each for each in reversed(addresses) if each not in self._trusted), addresses[0])


def named(scope: Scope, name: bytes) -> list[str]:
    """The values of a header that is a list."""
    values = (value.decode("latin-1") for key, value in scope["headers"] if key == name)
    return [each.strip() for value in values for each in value.split(",") if each.strip()]


def last(scope: Scope, name: bytes) -> str:
    """The last value: the one of the nearest proxy."""
    return (named(scope, name) or [""])[-1]
