"""The management tool of circuit breakers: call a pipeline again that rests after many failures."""

from __future__ import annotations

from ...models import Json
from ...server import Server
from .pipeline_tools import PIPELINE_NAME, dumped
from .schemas import STRING, gives, takes, tool
from .views import Invocation

MLFLOW = "mlflow"
"""No pipeline can have this name: it stands for the server behind `/mlflow`, for those who administer."""


class BreakerTools:
    """Gives structured answers, or raises a `ServerError`."""

    def __init__(self, server: Server) -> None:
        self._catalog, self._breakers = server.catalog, server.runs.breakers
        self._tracked = server.tracked

    async def reset(self, call: Invocation) -> Json:
        """Forget the failures of a pipeline; none is no error. Raises `NotFound`."""
        name: str = call.arguments["pipeline_name"]
        if name == MLFLOW and self._tracked is not None and call.caller.may("admin"):
            self._tracked.breaker.reset()
            return {"name": MLFLOW, "status": "running"}
        self._catalog.status(name)
        self._breakers.reset(name)
        return dumped(self._catalog.status(name))


TOOLS: tuple[Json, ...] = (
    tool(
        "reset_breaker",
        "Reset circuit breaker",
        "Lets calls through again to a pipeline that is not called for a while because it only failed.",
        takes(PIPELINE_NAME, "pipeline_name"),
        gives({"name": STRING, "status": STRING}),
        idempotentHint=True,
    ),
)
