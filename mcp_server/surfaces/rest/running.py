"""`POST /{name}/run`: run a pipeline and answer with what it gives.

Hayhooks answers a pipeline that returns a stream with the stream, and all others with JSON. So do we unless
the client says what it accepts: `text/event-stream` gets every event, `application/json` the whole,
`text/plain` the text as it comes; with none of them (`*/*` is what curl and requests send) a pipeline that
streams by its signature answers as text, any other with JSON.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, get_args

from starlette.requests import Request
from starlette.responses import Response

from ...catalog import Serving, Stage
from ...models import Caller, Json
from ...server import Server
from ..listening import listen
from ..operations import OBJECT, Operation, gives
from . import bodies
from .answers import answered, streamed_events, streamed_text

IGNORED = "params"
"""What Hayhooks' own sample sends along: passed to pipelines that take it, else left out."""
FORMS = ("application/json", "text/plain", "text/event-stream", "application/octet-stream")
QUERY: Json = {
    "version": {"type": "integer", "minimum": 1, "description": "Number of the version to run."},
    "stage": {"type": "string", "enum": [*get_args(Stage)], "description": "Stage of the version to run."},
    "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "Seconds it may take."},
}

KEY: Json = {
    "type": "string",
    "minLength": 1,
    "maxLength": bodies.KEY_LIMIT,
    "description": "Sent again with the same key, the call gives what it gave and does not run again.",
}


def operations(server: Server) -> tuple[Operation, ...]:
    """The one route; what it takes depends on the pipeline."""
    return (
        Operation(
            "POST",
            "/{name}/run",
            Running(server).run,
            "Run a pipeline",
            query=QUERY,
            headers={"Idempotency-Key": KEY},
            takes=OBJECT,
            answer=gives(result={}),
            media=FORMS,
        ),
    )


class Running:
    """The way from a request to what a pipeline gives."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def run(self, request: Request) -> Response:
        """Run to the end; the run stops when its client leaves, unless it lasts (`soft_deadline`)."""
        name: str = request.path_params["name"]
        version, stage = bodies.wanted_version(request), bodies.wanted_stage(request)
        timeout = bodies.wanted_timeout(request)
        entry = await self._server.catalog.find(name, version, stage)
        form = wanted_form(request, entry)
        inputs = await bodies.json_object(request)
        begin = partial(
            self._server.runs.start,
            Caller(origin="rest"),
            name,
            known(inputs, entry),
            client=bodies.client_of(request, self._server.settings.shared_headers),
            timeout=timeout,
            key=bodies.wanted_key(request),
            version=version,
            stage=stage,
        )
        # a client that says how long the call may take, or hears it going on, waits that long
        patient = timeout is not None or form != "json"
        within = None if patient else self._server.settings.soft_deadline
        heard = await listen(self._server.runs, request, begin, within)
        if form == "events":
            return streamed_events(request, self._server.runs, heard)
        answer = streamed_text if form == "text" else answered
        return await answer(request, self._server.runs, heard)


def wanted_form(request: Request, entry: Serving) -> Literal["json", "text", "events"]:
    """What the client accepts; else what the pipeline does."""
    accepted = {
        part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")
    }
    if "text/event-stream" in accepted:
        return "events"
    if "application/json" in accepted:
        return "json"
    streams = entry.version.manifest is not None and entry.version.manifest.streams
    return "text" if streams or "text/plain" in accepted else "json"


def known(inputs: Json, entry: Serving) -> Json:
    """The inputs, without `params` if the pipeline does not take it."""
    assert entry.version.manifest is not None, "it serves, so it was loaded"
    schema: Json = entry.version.manifest.tool["inputSchema"]
    closed = IGNORED not in schema.get("properties", {}) and schema.get("additionalProperties") is False
    return {key: value for key, value in inputs.items() if key != IGNORED or not closed}
