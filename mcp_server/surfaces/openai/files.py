"""Files that clients hand over for later, kept by a pipeline that does so (OpenAI's API reference: Files)."""

from __future__ import annotations

from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ...models import Json, Run, Upload
from ...server import Server
from ..callers import caller_of
from ..listening import listen
from ..operations import as_json
from ..rest.answers import RUN_ID
from ..rest.bodies import client_of, media_type
from ..rest.forms import Form, form_of
from ..rest.running import FORM
from .errors import Refused, fault, unknown_model

PURPOSE = "user_data"
"""What a file is for if its client does not say."""


class Files:
    """What answers an upload. The file goes to `run_file_upload` of a wrapper; the server keeps none."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def create(self, request: Request) -> Response:
        """Take the `file` of a form, with its `purpose`; `model` names the pipeline if several keep files."""
        if media_type(request) != FORM:
            raise Refused(400, "Send the file as multipart/form-data.", "file")
        uploads = self._server.runs.uploads
        place = uploads.place()
        try:
            return await self._kept(request, await form_of(request, place))
        finally:
            uploads.forget(place)

    async def _kept(self, request: Request, form: Form) -> Response:
        files = form.files.get("file", [])
        if len(files) != 1:
            raise Refused(400, "The form must have one `file`.", "file")
        inputs = asked(files[0], form.texts.get("purpose", [PURPOSE])[-1])
        name = await self._keeper(request, form.texts.get("model", [""])[-1])
        client = client_of(request, self._server.settings.shared_headers)
        client = client.model_copy(update={"uploads": {files[0].address: files[0]}})
        start = partial(self._server.runs.start, caller_of(request, "openai"), name, inputs)
        start = partial(start, verb="upload", client=client, request_id=request.state.request_id)
        heard = await listen(self._server.runs, request, start)
        await heard.end()
        if refused := fault(heard):
            raise refused
        size = files[0].path.stat().st_size
        return as_json(shown(heard.run, size), headers={RUN_ID: heard.run.id})

    async def _keeper(self, request: Request, wanted: str) -> str:
        """The pipeline that keeps files, or the first of them by name. Raises `Refused` if there is none."""
        entries, may = (await self._server.catalog.ready()).entries, caller_of(request, "openai").may
        keeping = (
            name for name, each in entries.items() if each.manifest and "upload" in each.manifest.verbs
        )
        keepers = [name for name in keeping if may("run", name)]
        if wanted and wanted not in keepers:
            raise unknown_model(wanted, "keeps no files")
        if not keepers:
            raise Refused(404, "No pipeline keeps files: none has `run_file_upload`.", code="not_found")
        return wanted or keepers[0]


def asked(file: Upload, purpose: str) -> Json:
    """What `run_file_upload` gets; for the content stands the address of the file."""
    about = {"filename": file.name, "content_type": file.mime_type}
    return about | {"content": file.address, "purpose": purpose}


def shown(run: Run, size: int) -> Json:
    """The file as OpenAI shows one: what the pipeline says of it, and what it leaves out."""
    assert run.result is not None, "it ended well"
    said: Json = orjson.loads(run.result.structured or b"{}")
    known = {
        "id": f"file-{run.id}",
        "object": "file",
        "bytes": size,
        "created_at": int(run.started),
        "filename": run.inputs["filename"],
        "purpose": run.inputs["purpose"],
        "status": "processed",
    }
    return known | (said if "id" in said else {})
