"""Which addresses the server may be told to call or to be known by."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def address(url: str) -> SplitResult:
    """The parts of an http or https address. Raises `ValueError` that says what is wrong with it.

    A name and password in it would be sent along and logged; on the link (169.254.0.0/16, fe80::/10) is where
    clouds hand out credentials.
    """
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError("holds characters that no address has")
    try:
        place = urlsplit(url)
        port = place.port
    except ValueError:
        raise ValueError("is no address") from None
    if place.scheme not in ("http", "https") or not place.hostname or port == 0:
        raise ValueError("is no http or https address")
    if "@" in place.netloc or place.fragment or "%" in place.netloc:
        raise ValueError("holds more than a host, a port, a path and a query")
    if is_on_link(place.hostname):
        raise ValueError("is an address on the link, where nobody serves this")
    return place


def secure(url: str) -> SplitResult:
    """The same, for https; http only on loopback, by its usual names. Raises `ValueError`."""
    place = address(url)
    if place.scheme != "https" and place.hostname not in LOOPBACK:
        raise ValueError("must begin with https:// unless it is on this machine")
    return place


def is_on_link(host: str) -> bool:
    """True for a link-local address or one of no host, and for numbers that only resolvers read as one.

    Such are 2852039166, 0xa9.254.1.1 and 127.1.
    """
    try:
        found = ip_address(host)
    except ValueError:
        return all(part and part[0].isdigit() for part in host.split("."))
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_link_local or (mapped or found).is_unspecified or found.is_multicast
