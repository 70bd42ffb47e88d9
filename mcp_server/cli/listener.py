"""The listening socket, bound before the server starts: a port in use is one clear line."""

from __future__ import annotations

import errno
import os
import socket

from ..errors import Unusable

WAITING = 2048
"""Connections that may queue until they are accepted."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Whether others may reach it is for `posture` to say.

    Raises `Unusable` for an address that does not exist, and a port that is in use or not allowed.
    """
    family, address = _found(host, port)
    listening = socket.socket(family, socket.SOCK_STREAM)
    if os.name == "posix":  # on Windows this option would let two servers share a port
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(WAITING)
    except OSError as error:
        listening.close()
        raise Unusable(_reason(error, host, port)) from None
    return listening


def _found(host: str, port: int) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        raise Unusable(f"host: {host!r} is no address of this machine") from None
    return found[0][0], found[0][4]


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port, or a free one with --port 0"
    return f"cannot listen on {host}, port {port}: {error.strerror}"
