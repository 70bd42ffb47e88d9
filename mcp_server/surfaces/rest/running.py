"""`POST /{name}/run`: run a pipeline and answer with what it gives.

Hayhooks answers a pipeline that returns a stream with the stream, and all others with JSON. So do we unless
the client says what it accepts: `text/event-stream` gets every event, `application/json` the whole,
`text/plain` the text as it comes; with none of them (`*/*` is what curl and requests send) a pipeline that
streams by its signature answers as text, any other with JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from starlette.requests import Request
from starlette.responses import Response

from ...access import sight
from ...catalog import Serving, Stage
from ...models import Json, Upload
from ...server import Server
from ..callers import caller_of
from ..listening import Listening, listen
from ..operations import OBJECT, Operation, gives
from . import bodies
from .answers import answered, streamed_events, streamed_text
from .fields import arguments, fields_of
from .forms import form_of

IGNORED = "params"
"""What Hayhooks' own sample sends along: passed to pipelines that take it, else left out."""
FORMS = ("application/json", "text/plain", "text/event-stream", "application/octet-stream")
FORM, FIELDS = "multipart/form-data", "application/x-www-form-urlencoded"
Form = Literal["json", "text", "events"]
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
        version, stage = bodies.wanted_version(request), bodies.wanted_stage(request)
        name: str = request.path_params["name"]
        sight.check(caller_of(request, "rest"), "run", name)
        entry = await self._server.catalog.find(name, version, stage)
        form = wanted_form(request, entry)
        heard = await self._begun(request, entry, form, {"version": version, "stage": stage})
        if form == "events":
            return streamed_events(request, self._server.runs, heard)
        answer = streamed_text if form == "text" else answered
        return await answer(request, self._server.runs, heard)

    async def _begun(self, request: Request, entry: Serving, form: Form, which: Json) -> Listening:
        """Read the request and begin. Its files are gone when the run has ended, or if none began."""
        uploads, place = self._server.runs.uploads, None
        try:
            if bodies.media_type(request) == FORM:
                place = uploads.place()
            inputs, files = await brought(request, entry, place)
            heard = await self._heard(request, entry, form, known(inputs, entry), which, files)
        except BaseException:
            if place:
                uploads.forget(place)
            raise
        if place:
            heard.live.when_ended(lambda _: uploads.forget(place))
        return heard

    async def _heard(
        self,
        request: Request,
        entry: Serving,
        form: Form,
        inputs: Json,
        which: Json,
        files: Mapping[str, Upload],
    ) -> Listening:
        """Begin. A client that says how long it may take, or hears it going on, waits that long."""
        runs, settings, timeout = self._server.runs, self._server.settings, bodies.wanted_timeout(request)
        client = bodies.client_of(request, settings.shared_headers).model_copy(update={"uploads": files})
        key, caller = bodies.wanted_key(request), caller_of(request, "rest")
        told = {"client": client, "request_id": request.state.request_id, "timeout": timeout, "key": key}
        begin = partial(runs.start, caller, entry.name, inputs, **told, **which)
        within = settings.soft_deadline if timeout is None and form == "json" else None
        return await listen(runs, request, begin, within)


async def brought(request: Request, entry: Serving, place: Path | None) -> tuple[Json, Mapping[str, Upload]]:
    """The arguments in JSON or in a form, and its files by their addresses, in `place`."""
    kind, schema = bodies.media_type(request), schema_of(entry)
    if place is not None:
        sent = await form_of(request, place)
        files = {each.address: each for some in sent.files.values() for each in some}
        return arguments(sent.texts, sent.files, schema), files
    if kind == FIELDS:
        return arguments(fields_of(await request.body()), {}, schema), {}
    return await bodies.json_object(request), {}


def wanted_form(request: Request, entry: Serving) -> Form:
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
    schema = schema_of(entry)
    closed = IGNORED not in schema.get("properties", {}) and schema.get("additionalProperties") is False
    return {key: value for key, value in inputs.items() if key != IGNORED or not closed}


def schema_of(entry: Serving) -> Json:
    """What the pipeline takes."""
    assert entry.version.manifest is not None, "it serves, so it was loaded"
    return entry.version.manifest.tool["inputSchema"]
