"""Ways in. A surface is a module or folder here with `surface(server) -> Surface`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

if TYPE_CHECKING:
    from .operations import Operation


def nothing() -> None:
    """A surface without long streams has none to end."""


def none() -> int:
    """Every call is answered to the request that makes it."""
    return 0


@dataclass(frozen=True)
class Surface:
    """Routes to mount, and what must be open while they serve."""

    routes: Sequence[BaseRoute]
    lifespan: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    close_streams: Callable[[], None] = nothing
    """Ends the streams that clients hold open for good; called when the server is asked to stop."""
    calls: Callable[[], int] = none
    """How many calls are in flight that no open request shows."""
    operations: Sequence[Operation] = ()
    """What OpenAPI is to tell of its routes."""
    express: Callable[[ASGIApp], ASGIApp] | None = None
    """Middleware that answers some requests before they are routed."""
