"""Ways in. A surface is a module or folder here with `surface(server) -> Surface`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

if TYPE_CHECKING:
    from .operations import Operation

BODY_LIMIT = 16 * 2**20
"""Bytes of the largest request any surface accepts: a deploy with its files as JSON."""


def nothing() -> None:
    """A surface without long streams has none to end."""


@dataclass(frozen=True)
class Surface:
    """Routes to mount, and what must be open while they serve."""

    routes: Sequence[BaseRoute]
    lifespan: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
    close_streams: Callable[[], None] = nothing
    """Ends the streams that clients hold open for good; called when the server is asked to stop."""
    operations: Sequence[Operation] = ()
    """What OpenAPI is to tell of its routes."""
