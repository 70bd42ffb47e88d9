"""The management verbs over HTTP: the arguments, checks and answers of MCP's tools of the same names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...models import Json
from ...server import Server
from ..callers import caller_of
from ..management import TOOLS, Management
from ..management.views import Invocation, View
from ..operations import Operation, as_json
from .bodies import json_object, wanted_key

IDENTITY = re.compile(r"\{(\w+)\}")
NUMBERS: Mapping[str, Callable[[str], Any]] = {"integer": int, "number": float}


class Verbs:
    """Makes the operations."""

    def __init__(self, server: Server) -> None:
        self._management = Management(server)
        self._catalog = server.catalog
        self._tools = {tool["name"]: tool for tool in TOOLS}

    def operation(
        self, method: str, path: str, verb: str, *, status: int = 200, named: Mapping[str, str] | None = None
    ) -> Operation:
        """The verb on that path, whose parameters are arguments, by the names in `named` if others.

        The other arguments are the body, or for GET the query.
        """
        tool = self._tools[verb]
        keys: list[str] = IDENTITY.findall(path)
        names = {key: (named or {}).get(key, key) for key in keys}
        schema: Json = tool["inputSchema"]
        others = {key: each for key, each in schema["properties"].items() if key not in names.values()}
        required = [key for key in schema["required"] if key in others]
        in_query = method == "GET"

        async def handle(request: Request) -> Response:
            rest = asked(request, others) if in_query else await json_object(request)
            given = rest | {argument: request.path_params[name] for name, argument in names.items()}
            self._management.check(verb, given)
            call = Invocation(caller_of(request, "rest"), given, self._view, wanted_key(request))
            answer = await self._management.call(verb, call)
            return as_json(answer, status, headers(request, answer) if status == 202 else None)

        return Operation(
            method,
            path,
            handle,
            tool["title"],
            tool["description"],
            query=others if in_query else {},
            takes=None if in_query or not others else {**schema, "properties": others, "required": required},
            answer=tool["outputSchema"],
            status=status,
        )

    def _view(self) -> View:
        """Every pipeline that serves: also those hidden from MCP."""
        entries = self._catalog.snapshot.entries.values()
        return View({entry.name: entry.manifest.tool for entry in entries if entry.manifest}, {}, {})


def asked(request: Request, schemas: Mapping[str, Json]) -> Json:
    """The query as arguments; what does not read as its schema wants is left for the check to refuse."""
    return {key: read(text, schemas.get(key, {})) for key, text in request.query_params.items()}


def read(text: str, schema: Json) -> Any:
    """A text as a value of the schema's type."""
    try:
        return NUMBERS.get(schema.get("type", ""), str)(text)
    except ValueError:
        return text


def headers(request: Request, answer: Json) -> Mapping[str, str]:
    """Where what was begun can be followed."""
    return {"Location": f"{request.scope.get('root_path', '')}/runs/{answer['run_id']}"}
