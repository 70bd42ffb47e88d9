"""How much may be asked for: calls at once, requests in a time."""

from __future__ import annotations

from pydantic import Field

from .section import Section


class Limiting(Section):
    """Slots and rates."""

    async_calls: int = Field(64, ge=1, description="Calls of a pipeline that run at once, if it is async.")
    sync_calls: int = Field(8, ge=1, description="Calls of a pipeline that run at once, if it blocks.")
    waiting_calls: int = Field(
        64, ge=0, description="Calls that may wait for a pipeline; what comes then is refused."
    )
    caller_calls: int = Field(
        16, ge=0, description="Calls that a caller with a key or token may have running at once; 0: any."
    )
    rate_per_hour: int = Field(
        1000, ge=0, description="Requests an hour of a caller with a key or token; 0: any."
    )
    rate_per_second: float = Field(
        20.0, ge=0, description="Requests a second of such a caller, in the long run; 0: any."
    )
    rate_burst: int = Field(40, ge=1, description="Requests that such a caller may make at once.")
    register_per_minute: int = Field(
        20, ge=0, description="Deploys and registrations a minute of such a caller; 0: any."
    )
    lineage_per_minute: int = Field(
        100, ge=0, description="Requests a minute of such a caller for lineage, and for impact; 0: any."
    )
