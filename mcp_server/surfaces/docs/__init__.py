"""The documentation surface: what can be called over plain HTTP, for programs and for people.

document   the OpenAPI document, made from operations and catalog
pages      `/docs` and `/redoc`, and their assets
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import orjson
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...catalog import Snapshot
from ...models import Json
from ...server import Server
from .. import Surface
from ..callers import caller_of
from . import pages
from .document import document

JSON = "application/json"
YAML = "application/yaml"  # RFC 9512


def surface(server: Server, others: Iterable[Surface]) -> Surface:
    """`/openapi.json` and `/openapi.yaml` about the operations of the others, and pages that show them."""
    documents = Documents(server, tuple(others))
    routes = [
        Route("/openapi.json", documents.answering(JSON, orjson.dumps)),
        Route("/openapi.yaml", documents.answering(YAML, as_yaml)),
    ]
    return Surface([*routes, *pages.routes()])


KEPT = 32
"""Documents kept at once: one for each form and set of scopes."""


class Documents:
    """Keeps what was made last, until the catalog changes or the server is reached under another prefix."""

    def __init__(self, server: Server, others: tuple[Surface, ...]) -> None:
        self._catalog = server.catalog
        self._operations = [operation for other in others for operation in other.operations]
        self._made: dict[tuple[str, frozenset[str]], tuple[Snapshot, str, bytes]] = {}

    def answering(self, kind: str, write: Callable[[Json], bytes]) -> Callable[[Request], object]:
        """The endpoint that gives the document in this form; 304 to whoever has it."""

        async def answer(request: Request) -> Response:
            snapshot, root = await self._catalog.ready(), str(request.scope.get("root_path", ""))
            caller = caller_of(request, "docs")
            known = self._made.get((kind, caller.scopes))
            if known is None or known[0] is not snapshot or known[1] != root:
                made = document(self._operations, snapshot, root, caller)
                if len(self._made) >= KEPT:
                    self._made.clear()
                known = snapshot, root, await to_thread.run_sync(write, made)
                self._made[kind, caller.scopes] = known
            tag = f'"{hashlib.sha256(known[2]).hexdigest()[:32]}"'
            headers = {"ETag": tag, "Cache-Control": "no-cache"}
            if tag in (each.strip() for each in request.headers.get("if-none-match", "").split(",")):
                return Response(status_code=304, headers=headers)
            return Response(known[2], headers=headers, media_type=kind)

        return answer


def as_yaml(made: Json) -> bytes:
    """The document as YAML; PyYAML is imported when somebody asks for it."""
    import yaml

    return yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=100, encoding="utf-8")
