"""The list of tools as bytes, made once for each state of the catalog and each era."""

from __future__ import annotations

import orjson
from mcp_types.methods import serialize_server_result
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from ...catalog import Catalog
from ...models import Caller, Json
from ..management.views import View
from .pages import page
from .toolsets import Toolsets

KEPT = 64
"""Lists that are kept: one for each set of scopes, in each era."""


class Lists:
    """First pages of `tools/list`."""

    def __init__(self, catalog: Catalog, toolsets: Toolsets, stamp: Json) -> None:
        """`stamp` is what the SDK puts into the `_meta` of modern results."""
        self._catalog = catalog
        self._toolsets = toolsets
        self._stamp = stamp
        self._snapshot: object = None
        self._made: dict[tuple[int, bool], tuple[View, bytes]] = {}

    def body(self, caller: Caller, *, modern: bool) -> bytes | None:
        """What this caller is shown, the result as JSON; None as long as not every tool is known."""
        snapshot = self._catalog.snapshot
        if snapshot is not self._snapshot:
            if not self._catalog.known:
                return None
            self._snapshot, self._made = snapshot, {}
        view = self._toolsets.view(self._toolsets.named(None), caller)
        key = (id(view), modern)
        if key not in self._made:
            if len(self._made) >= KEPT:
                self._made.clear()
            self._made[key] = view, orjson.dumps(self._result(view, modern=modern))
        return self._made[key][1]

    def _result(self, view: View, *, modern: bool) -> Json:
        """As the SDK shapes it for this era."""
        version = LATEST_MODERN_VERSION if modern else LATEST_HANDSHAKE_VERSION
        result = serialize_server_result("tools/list", version, page("tools", [*view.tools.values()], None))
        return result | ({"_meta": self._stamp} if modern else {})
