"""When the user's folder changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from anyio import to_thread

QUIET = 200
"""Milliseconds without a change after which an edit counts as finished."""
LONGEST = 2000
"""Milliseconds after which changes are told even though they go on."""
WAKE = 1000
"""Milliseconds between two looks of the watching thread at whether it is still wanted."""
_SKIPPED = frozenset({"__pycache__", "node_modules"})


async def changes(folder: Path, state: Path, stop: anyio.Event) -> AsyncIterator[None]:
    """One item for each burst of changes below `folder`, apart from hidden and cached files and our own.

    The first item comes within `WAKE`, without a change: what happened before the watch began counts too.
    Ends soon after `stop` is set; cancelling alone has to wait for the watching thread, up to `WAKE`.
    """
    from watchfiles import Change, awatch  # pyright: ignore[reportUnknownVariableType] - only with --reload

    def matters(change: Change, path: str) -> bool:
        changed = Path(path)
        if changed.is_relative_to(own) or not changed.is_relative_to(real):
            return False
        parts = changed.relative_to(real).parts
        return not any(part.startswith(".") or part in _SKIPPED for part in parts)

    real, own = await to_thread.run_sync(lambda: (folder.resolve(), state.resolve()))
    bursts: AsyncIterator[set[tuple[Change, str]]] = awatch(
        real,
        watch_filter=matters,
        step=QUIET,
        debounce=LONGEST,
        stop_event=stop,
        rust_timeout=WAKE,
        yield_on_timeout=True,
    )
    looked = False
    async for burst in bursts:
        if burst or not looked:
            yield
        looked = True
