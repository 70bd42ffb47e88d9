"""How much may be asked for: calls at once."""

from __future__ import annotations

from pydantic import Field

from .section import Section


class Limiting(Section):
    """Slots."""

    async_calls: int = Field(64, ge=1, description="Calls of a pipeline that run at once, if it is async.")
    sync_calls: int = Field(8, ge=1, description="Calls of a pipeline that run at once, if it blocks.")
    waiting_calls: int = Field(
        64, ge=0, description="Calls that may wait for a pipeline; what comes then is refused."
    )
    caller_calls: int = Field(
        16, ge=0, description="Calls that a caller with a key or token may have running at once; 0: any."
    )
