"""The health surface: what monitors and load balancers ask. No route of it needs a key, but `/metrics`.

checks     each part of the server, really used
protocol   a round trip through the protocol server
figures    how much the process uses
metrics    everything that is counted, for Prometheus
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from importlib.metadata import version
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

from ...engines.confinement import abilities
from ...limits.breaker import Breaker
from ...models import Json, Walls
from ...server import Server
from ...telemetry.built import built
from .. import Surface
from ..operations import OBJECT, TEXT, Operation, as_json, gives, iso, mounted
from . import figures, metrics
from .checks import Check, Checks, Findings, own
from .protocol import answers

NAME = "haystack-mcp-server"
API_VERSION = "v1"
NO_STORE = MappingProxyType({"Cache-Control": "no-store"})


def surface(server: Server, others: Iterable[Surface] = ()) -> Surface:
    """The routes. The protocol is looked at where one of the `others` serves it."""
    return mounted(HealthRoutes(server, Checks(*own(server), *answers(others))).operations())


class HealthRoutes:
    """Answers about this process and its parts."""

    def __init__(self, server: Server, checks: Checks) -> None:
        self._server = server
        self._checks = checks
        self._since = time.monotonic()

    def operations(self) -> tuple[Operation, ...]:
        """Every route, with what OpenAPI is to say of it."""
        up, said = {"type": "boolean"}, gives(status=TEXT, version=TEXT, services=OBJECT, timestamp=TEXT)
        prometheus = metrics.Metrics(self._server)
        return (
            Operation("GET", "/live", self.live, "Whether the process answers", answer=gives(alive=up)),
            Operation("GET", "/ready", self.ready, "Whether calls can be answered", answer=gives(ready=up)),
            Operation("GET", "/health", self.health, "How each part is doing", answer=said),
            Operation("GET", "/health/status", self.status, "The same, with all figures", answer=OBJECT),
            Operation(
                "GET", "/version", self.version, "What was built, and when", answer=gives(version=TEXT)
            ),
            Operation("GET", "/metrics", prometheus.answer, "Figures for Prometheus", media=metrics.MEDIA),
        )

    async def live(self, request: Request) -> Response:
        """It answers, so it lives; nothing else is asked."""
        used = {"uptime": self._uptime(), "memory_usage_mb": figures.memory_megabytes()}
        return as_json({"alive": True, **used}, headers=NO_STORE)

    async def ready(self, request: Request) -> Response:
        """503 while a critical part does not work."""
        found = await self._checks.findings()
        body: Json = {
            "ready": found.ready,
            "can_serve_traffic": found.ready,
            "checks": [each.model_dump() for each in found.checks],
            "degraded_mode": found.ready and found.degraded,
        }
        return as_json(body, 200 if found.ready else 503, NO_STORE)

    async def health(self, request: Request) -> Response:
        """503 while a critical part does not work."""
        found = await self._checks.findings()
        body: Json = {
            "status": found.health,
            "version": version(NAME),
            "services": services(found),
            "timestamp": iso(),
        }
        return as_json(body, 503 if found.health == "unhealthy" else 200, NO_STORE)

    async def status(self, request: Request) -> Response:
        """Always 200: it is for people and monitors that read it."""
        found = await self._checks.findings()
        body: Json = {
            "timestamp": iso(),
            "api_version": API_VERSION,
            "service_name": NAME,
            "overall_health": found.health,
            "services": services(found),
            "checks": [each.model_dump() for each in found.checks],
            "breakers": self._server.runs.breakers.states(),
            "sandbox": sandbox(),
            "system_info": figures.system(),
            "uptime_seconds": self._uptime(),
        }
        if self._server.tracked is not None:
            body["mlflow"] = circuit(self._server.tracked.breaker)
        return as_json(body, headers=NO_STORE)

    async def version(self, request: Request) -> Response:
        """What is only known of a built wheel is null elsewhere."""
        return as_json({"version": version(NAME), **built(), "api_version": API_VERSION})

    def _uptime(self) -> int:
        return round(time.monotonic() - self._since)


def circuit(breaker: Breaker) -> Json:
    """How the requests to the MLflow server go, as the platform's reference has it."""
    state, failed = breaker.state.upper(), breaker.failed_at
    told = {"state": state, "failure_count": breaker.failures}
    return {
        "status": {"connected": not breaker.failures, "circuit_breaker_state": state},
        "circuit_breaker": {**told, "last_failure_time": None if failed is None else iso(failed)},
    }


def sandbox() -> Json:
    """Whether this system can wall off pipelines, and what it lacks for it."""
    missing = abilities().lacking(Walls(sandbox=True))
    return {"available": not missing, "missing": missing}


def services(found: Findings) -> Json:
    """Each part in one word."""
    return {each.name: word(each) for each in found.checks}


def word(check: Check) -> str:
    """How a part is doing."""
    if check.passed:
        return "healthy"
    return "unhealthy" if check.critical else "degraded"
