"""The keys under which this server and its own clients say more in MCP's `_meta`."""

from __future__ import annotations

RUN = "haystack-mcp-server/run"
"""Where a result says which run of which version it comes from, if it is `partial`, and if it was kept from
an earlier call (`cached`)."""

TEXT = "haystack-mcp-server/text"
"""Where a progress notification says that its message is streamed text, and from whom."""

RETRY_AFTER = "haystack-mcp-server/retry-after"
"""Where a result that refuses says after how many seconds to try again."""

WAIT = "haystack-mcp-server/wait"
"""Where a call says with `true` that it waits for its run, however long its pipeline lets that take."""
