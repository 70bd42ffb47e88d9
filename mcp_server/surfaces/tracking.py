"""`/mlflow/…`: a streaming reverse proxy to one MLflow server, and what monitors ask of it.

Our authentication stands in front; no credential of a caller goes on, and no address inside comes out.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ..errors import Late, NotFound, Unavailable, Unreachable
from ..models import Json
from ..server import Server
from . import Surface
from .operations import OBJECT, TEXT, Operation, as_json, gives, iso, routes
from .rest.bodies import has_body
from .rest.errors import error_response

if TYPE_CHECKING:
    import httpx2

    from ..tracking.upstream import Upstream

PREFIX = "/mlflow"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer "
    b"transfer-encoding upgrade".split()
)
"""Headers that end with a connection (RFC 9110 section 7.6.1)."""
OURS = frozenset(b"host authorization x-api-key cookie x-forwarded-for x-forwarded-host forwarded".split())
"""Headers for us, not for it."""
UP = re.compile(rb"(^|/|%2f)(\.|%2e){2}(/|%2f|$)", re.IGNORECASE)
"""A way up, which could leave the folders of its artifacts."""
PROBES = {
    "connectivity": ("/health", "MLflow server is reachable"),
    "experiments_api": (
        "/api/2.0/mlflow/experiments/search?max_results=1",
        "Experiments API is functional",
    ),
    "artifacts_api": ("/api/2.0/mlflow-artifacts/artifacts", "Artifact API is accessible"),
}
"""What is asked to see whether it works, and what to say if it does."""
NONE = "There is no MLflow server here: the setting tracking_url names one."


def surface(server: Server) -> Surface:
    """The routes of the proxy, and its health."""
    tracking = Tracking(server)
    operations = tracking.operations()
    proxied = [
        Route(
            f"{PREFIX}/{{path:path}}/search", tracking.proxy, methods=["POST"]
        ),  # asks, and changes nothing
        Route(f"{PREFIX}/{{path:path}}", tracking.proxy, methods=[*METHODS]),
    ]
    return Surface([*routes(operations), *proxied], operations=operations)


class Tracking:
    """Answers for the server behind us."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def operations(self) -> tuple[Operation, ...]:
        """What monitors ask."""
        told, where = gives(status=TEXT), gives(connected={"type": "boolean"}, circuit_breaker_state=TEXT)
        return (
            *(
                Operation("GET", f"{start}/health/mlflow{end}", handle, text, answer=told)
                for start in (PREFIX, "/api")
                for end, handle, text in (
                    ("", self.health, "How the MLflow server is doing"),
                    ("/detailed", self.detailed, "The same with every probe"),
                    ("/connectivity", self.connectivity, "Whether it can be reached"),
                )
            ),
            Operation("GET", "/health/mlflow", self.connected, "Whether it is asked at all", answer=where),
            Operation("POST", "/health/mlflow/reset", self.reset, "Ask it again at once", answer=OBJECT),
        )

    async def proxy(self, request: Request) -> Response:
        """Pass a request on and its answer back, both as they come."""
        upstream = self._upstream()
        path: bytes = request.scope.get("raw_path") or request.url.path.encode()
        path = path.partition(b"?")[0].partition(PREFIX.encode())[2]
        if UP.search(path):
            return error_response(request, 400, "The path must not lead upwards.")
        query = asked(request)
        try:
            answer = await upstream.send(
                request.method, path.decode("latin-1") + query, forwarded(request), body_of(request)
            )
        except Unreachable as error:
            return error_response(request, 502, str(error))
        except Late as error:
            return error_response(request, 504, str(error))
        response = StreamingResponse(passed(answer), answer.status_code)
        response.raw_headers = returned(answer, upstream, request)
        return response

    async def health(self, request: Request) -> Response:
        """Every probe in words."""
        upstream = self._upstream()
        checks = {name: await probed(upstream, *probe) for name, probe in PROBES.items()}
        well = all(each["success"] for each in checks.values())
        told: Json = {
            name: {"status": "healthy" if each["success"] else "unhealthy", "message": each["message"]}
            for name, each in checks.items()
        }
        status = "healthy" if well else "unhealthy"
        return as_json({"status": status, "mlflow_server": upstream.url, "checks": told})

    async def detailed(self, request: Request) -> Response:
        """Every probe with its figures."""
        upstream = self._upstream()
        tests: list[Json] = []
        for name, (path, text) in PROBES.items():
            found = await probed(upstream, path, text)
            told = {key: found[key] for key in ("status_code", "success", "response_time_ms")}
            tests.append({"endpoint": name, "url": upstream.url + path, **told})
        body: Json = {
            "mlflow_server": upstream.url,
            "timestamp": iso(),
            "environment": {
                "MLFLOW_SERVER_URL": upstream.url,
                "MLFLOW_SERVE_ARTIFACTS": str(tests[-1]["success"]).lower(),
                "PROXY_DEBUG": False,
            },
            "tests": tests,
            "overall_health": all(each["success"] for each in tests),
        }
        return as_json(body)

    async def connectivity(self, request: Request) -> Response:
        """One probe."""
        upstream = self._upstream()
        found = await probed(upstream, *PROBES["connectivity"])
        status = "connected" if found["success"] else "timeout" if found["late"] else "error"
        told = {"response_code": found["status_code"], "response_time_ms": found["response_time_ms"]}
        return as_json({"status": status, "mlflow_server": upstream.url, **told})

    async def connected(self, request: Request) -> Response:
        """503 while it cannot be reached."""
        upstream = self._upstream()
        found = await probed(upstream, *PROBES["connectivity"])
        state = upstream.breaker.state.upper()
        body: Json = {"connected": found["success"], "circuit_breaker_state": state}
        body |= {} if found["success"] else {"error": "MLflow server unavailable"}
        return as_json({**body, "timestamp": iso()}, 200 if found["success"] else 503)

    async def reset(self, request: Request) -> Response:
        """Close the breaker, whatever it has seen."""
        self._upstream().breaker.reset()
        message = "Circuit breaker reset successfully"
        return as_json({"message": message, "timestamp": iso(), "reset_by": "manual_api_call"})

    def _upstream(self) -> Upstream:
        if self._server.tracked is None:
            raise NotFound(NONE)
        return self._server.tracked


def asked(request: Request) -> str:
    """The query, without a key of ours."""
    pairs = parse_qsl(request.url.query, keep_blank_values=True)
    kept = [(key, value) for key, value in pairs if key != "api_key"]
    if len(kept) == len(pairs):
        return f"?{request.url.query}" if request.url.query else ""
    return f"?{urlencode(kept)}" if kept else ""


def forwarded(request: Request) -> list[tuple[bytes, bytes]]:
    """The headers that go on."""
    return [(name, value) for name, value in passing(request.headers.raw) if name.lower() not in OURS]


def passing(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that are not only for the next hop, those that `Connection` names left out too."""
    given = [(name.lower(), value) for name, value in headers]
    named = {
        each.strip().lower() for name, value in given if name == b"connection" for each in value.split(b",")
    }
    return [(name, value) for name, value in given if name not in HOP_BY_HOP | named]


def body_of(request: Request) -> AsyncIterable[bytes] | None:
    """What is sent along, as it comes."""
    return request.stream() if has_body(request) else None


def returned(answer: httpx2.Response, upstream: Upstream, request: Request) -> list[tuple[bytes, bytes]]:
    """The headers that come back; a redirect of its own leads through us again."""
    root = f"{request.scope.get('root_path', '')}{PREFIX}".encode()
    inner = upstream.url.encode()
    told: list[tuple[bytes, bytes]] = []
    for name, value in passing(answer.headers.raw):
        if name == b"location" and value.startswith((inner, b"/")):
            value = root + value.removeprefix(inner)
        if name not in (b"server", b"date"):
            told.append((name, value))
    return told


async def passed(answer: httpx2.Response) -> AsyncGenerator[bytes]:
    """The body as it is on the wire; the connection is let go however this ends."""
    try:
        async for part in answer.aiter_raw():
            yield part
    finally:
        await answer.aclose()


async def probed(upstream: Upstream, path: str, text: str) -> dict[str, Any]:
    """What became of one question."""
    since, late, status = time.perf_counter(), False, None
    try:
        answer = await upstream.look(path)
        status = answer.status_code
        await answer.aclose()
    except Unavailable as error:
        late, text = isinstance(error, Late), str(error)
    well = status is not None and status < 400
    if status is not None and not well:
        text = f"answered with status {status}"
    took = round(1000 * (time.perf_counter() - since), 1)
    return {"success": well, "message": text, "status_code": status, "response_time_ms": took, "late": late}
