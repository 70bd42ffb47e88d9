"""Ways in. A surface is a module or folder here with `surface(server) -> Surface`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

from starlette.routing import BaseRoute


@dataclass(frozen=True)
class Surface:
    """Routes to mount, and what must be open while they serve."""

    routes: Sequence[BaseRoute]
    lifespan: Callable[[], AbstractAsyncContextManager[object]] = nullcontext
