"""What is asked before the server calls itself ready: each part, by really using it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from ...models import Noun
from ...server import Server

WITHIN = 1.5
"""Seconds a part gets to answer."""
FRESH = 1.0
"""Seconds for which an answer is given again, so that many probes cost no more than one."""

Health = Literal["healthy", "degraded", "unhealthy"]


class Check(Noun):
    """One part, looked at. Nothing is served without a critical one."""

    name: str
    passed: bool
    error: str | None = None
    critical: bool = False


class Findings(Noun):
    """Every part, looked at together."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """True if no critical part failed: calls can be answered."""
        return all(each.passed for each in self.checks if each.critical)

    @property
    def degraded(self) -> bool:
        """True if any part failed."""
        return not all(each.passed for each in self.checks)

    @property
    def health(self) -> Health:
        """The same in one word."""
        if not self.ready:
            return "unhealthy"
        return "degraded" if self.degraded else "healthy"


@dataclass(frozen=True)
class Look:
    """How a part is looked at: gives what is wrong, or None. It may raise, or take too long."""

    name: str
    critical: bool
    fault: Callable[[], Awaitable[str | None]]

    async def check(self) -> Check:
        """Look. Whatever goes wrong is the part's fault, so any error is told as one."""
        try:
            async with asyncio.timeout(WITHIN):
                error = await self.fault()
        except TimeoutError:
            error = f"no answer within {WITHIN:g} s"
        except Exception as problem:  # a probe must be answered whatever broke
            error = f"failed with {type(problem).__name__}"
        return Check(name=self.name, passed=error is None, error=error, critical=self.critical)


class Checks:
    """Looks at all parts side by side; who asks meanwhile gets the same answer."""

    def __init__(self, *looks: Look) -> None:
        self._looks = looks
        self._going: asyncio.Task[Findings] | None = None
        self._known: tuple[float, Findings] | None = None

    async def findings(self) -> Findings:
        """What was found, at most `FRESH` seconds ago."""
        if self._known and time.monotonic() - self._known[0] < FRESH:
            return self._known[1]
        if self._going is None or self._going.done():
            self._going = asyncio.create_task(self._look())
        return await asyncio.shield(self._going)

    async def _look(self) -> Findings:
        found = Findings(checks=tuple(await asyncio.gather(*(look.check() for look in self._looks))))
        self._known = time.monotonic(), found
        return found


def own(server: Server) -> tuple[Look, ...]:
    """The parts every server has, but for the protocol."""
    has_loaded = False  # once: a pipeline that is deployed later must not take the server out of service

    async def accepting() -> str | None:
        return None if server.opened and not server.stopping else "the server is stopping or not yet open"

    async def loaded() -> str | None:
        nonlocal has_loaded
        has_loaded = has_loaded or server.catalog.loaded
        return None if has_loaded else "the pipelines still load"

    async def pipelines() -> str | None:
        failed = sum(each.status == "error" for each in server.catalog.statuses())
        return f"{failed} pipelines do not serve" if failed else None

    async def hosts() -> str | None:
        told = await server.engine.answering(WITHIN * 0.8)
        return None if not told or any(told.values()) else "no worker process answers"

    async def some_hosts() -> str | None:
        told = await server.engine.answering(WITHIN * 0.8)
        silent = sorted(name for name, answers in told.items() if not answers)
        return f"{len(silent)} of {len(told)} worker groups do not answer" if silent else None

    async def store() -> str | None:
        if fault := server.history.fault:
            return fault
        return f"{server.history.lost} runs could not be recorded" if server.history.lost else None

    async def webhooks() -> str | None:
        return "deliveries fail" if server.webhooks.failing else None

    async def mlflow() -> str | None:
        state = server.tracked.breaker.state if server.tracked else "closed"
        return None if state == "closed" else "the MLflow server does not work"

    return (
        *((Look("mlflow", False, mlflow),) if server.tracked else ()),
        Look("accepting", True, accepting),
        Look("hosts", True, hosts),
        Look("loaded", True, loaded),
        Look("pipelines", False, pipelines),
        Look("groups", False, some_hosts),
        Look("store", False, store),
        Look("webhooks", False, webhooks),
    )
