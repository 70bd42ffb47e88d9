"""What clients declare of themselves, read once: the same program says the same with every request."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import mcp_types as types
import orjson
from mcp.server.connection import Connection
from mcp_types.methods import validate_client_request
from mcp_types.version import LATEST_MODERN_VERSION
from pydantic import ValidationError

from ...models import Client, Json
from .asking import dumped
from .tasks import EXTENSION

KEPT = 1000
"""Envelopes that are remembered."""


class Envelopes:
    """The clients behind envelopes and sessions, without what depends on one request."""

    def __init__(self) -> None:
        self._modern: dict[bytes, Client | None] = {}
        self._sessions: WeakKeyDictionary[Connection, tuple[object, Client]] = WeakKeyDictionary()

    def modern(self, meta: Json) -> Client | None:
        """The client that sends this `_meta`; None if it is not valid, or wants its calls as tasks."""
        key = orjson.dumps(meta)
        if key not in self._modern:
            if len(self._modern) >= KEPT:
                self._modern.clear()
            self._modern[key] = read(meta)
        return self._modern[key]

    def session(self, connection: Connection) -> Client:
        """The client of a session, as it declared itself when it began."""
        params, client = self._sessions.get(connection, (None, None))
        if client is None or params is not connection.client_params:
            client = Client(capabilities=capabilities(connection))
            self._sessions[connection] = connection.client_params, client
        return client


def read(meta: Json) -> Client | None:
    """The same, read anew."""
    try:
        validate_client_request("tools/list", LATEST_MODERN_VERSION, {"_meta": meta})
    except ValidationError:
        return None
    info, declared = meta.get(types.CLIENT_INFO_META_KEY), meta[types.CLIENT_CAPABILITIES_META_KEY]
    found = capabilities(Connection.from_envelope(LATEST_MODERN_VERSION, info, declared))
    return None if EXTENSION in found.get("extensions", {}) else Client(capabilities=found)


def capabilities(connection: Connection) -> Json:
    """What the client declared, in wire form."""
    declared = connection.client_capabilities
    return dumped(declared) if declared else {}
