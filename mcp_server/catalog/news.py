"""What loading revealed and is not written down yet."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from ..models import Manifest
from .deployments import Deployment


class News:
    """The newest of each pipeline. For one reader."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Deployment, Manifest | None]] = {}
        self._arrived = anyio.Event()

    def add(self, deployment: Deployment, manifest: Manifest | None) -> None:
        """It loaded, or (None) it did not."""
        self._known[deployment.name] = (deployment, manifest)
        self._arrived.set()

    async def arrived(self) -> None:
        """Wait until there is something."""
        await self._arrived.wait()

    def taken(self) -> Mapping[str, tuple[Deployment, Manifest | None]]:
        """All there is, by name; from now on there is nothing."""
        known, self._known, self._arrived = self._known, {}, anyio.Event()
        return known
