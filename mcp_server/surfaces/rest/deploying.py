"""Deploy and undeploy: the routes and bodies of both Hayhooks pages, by the verbs of the catalog."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ...content.encoder import dump
from ...errors import Invalid
from ...models import Json
from ...server import Server
from ..callers import caller_of
from ..operations import OBJECT, TEXT, Operation, as_json, gives
from .bodies import parsed
from .status import dumped

METADATA = re.compile(r"""^["']?metadata["']?\s*:""", re.MULTILINE)
DONE = gives(status=TEXT, message=TEXT, name=TEXT, pipeline=OBJECT)


class Body(BaseModel):
    """Base of what is posted: an unknown key is an error, for it may be a misspelt one."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Files(Body):
    """A pipeline as text by path."""

    name: str
    files: dict[str, str] = Field(description="None: deploy again what was undeployed.")
    save_files: bool = Field(True, description="Keep it over a restart.")
    overwrite: bool = Field(False, description="Replace the one of this name.")


class File(Body):
    """A file in a list."""

    name: str
    content: str = Field(description="In base64.")


class FileList(Body):
    """A pipeline as a list of files."""

    name: str
    files: list[File]
    save_files: bool = True
    overwrite: bool = False


class Yaml(Body):
    """A pipeline as the text of its YAML."""

    name: str
    source_code: str
    overwrite: bool = False
    save_file: bool = True
    description: str | None = Field(None, description="What its tool says, whatever the YAML does.")
    skip_mcp: bool = Field(False, description="Hide it from MCP.")


def operations(server: Server) -> tuple[Operation, ...]:
    """The four routes."""
    deploying = Deploying(server)
    posts = (
        ("/deploy_files", deploying.files, "Deploy a pipeline from files", Files),
        ("/pipelines/deploy", deploying.list, "Deploy a pipeline from a list of files", FileList),
        ("/deploy-yaml", deploying.yaml, "Deploy a pipeline from its YAML", Yaml),
    )
    return (
        *(
            Operation("POST", path, do, summary, takes=body.model_json_schema(), answer=DONE)
            for path, do, summary, body in posts
        ),
        Operation("POST", "/undeploy/{name}", deploying.undeploy, "Undeploy a pipeline", answer=DONE),
    )


class Deploying:
    """What answers each route. A deploy is all or nothing."""

    def __init__(self, server: Server) -> None:
        self._catalog = server.catalog
        self._audit = server.audit

    async def files(self, request: Request) -> Response:
        """Text by path."""
        given = await parsed(request, Files)
        return await self._deploy(request, given.name, given.files, given.overwrite, given.save_files)

    async def list(self, request: Request) -> Response:
        """Base64 in a list."""
        given = await parsed(request, FileList)
        contents = {each.name: decoded(each) for each in given.files}
        if len(contents) < len(given.files):
            raise Invalid("`files` holds two files of the same name.")
        return await self._deploy(request, given.name, contents, given.overwrite, given.save_files)

    async def yaml(self, request: Request) -> Response:
        """The text of a YAML."""
        given = await parsed(request, Yaml)
        said: Json = {"description": given.description} if given.description is not None else {}
        said |= {"hidden": True} if given.skip_mcp else {}
        files = {"pipeline.yml": described(given.source_code, said)}
        return await self._deploy(request, given.name, files, given.overwrite, given.save_file)

    async def undeploy(self, request: Request) -> Response:
        """Out of service until it is deployed again."""
        name: str = request.path_params["name"]
        async with self._audit.noting("undeploy_pipeline", caller_of(request, "rest"), name):
            status = await self._catalog.undeploy(name)
        return done(name, "undeployed", dumped(status))

    async def _deploy(
        self,
        request: Request,
        name: str,
        files: Mapping[str, str | bytes],
        overwrite: bool,
        keep: bool,
    ) -> Response:
        caller = caller_of(request, "rest")
        async with self._audit.noting("deploy_pipeline", caller, name) as noting:
            status = dumped(
                await self._catalog.deploy(name, files, overwrite=overwrite, keep=keep, author=caller.name)
            )
            noting.of(status)
        return done(name, "deployed", status)


def done(name: str, what: str, status: Json) -> Response:
    """The answer to a change that was made."""
    message = f"Pipeline {name} was {what}."
    return as_json({"status": "success", "message": message, "name": name, "pipeline": status})


def decoded(file: File) -> bytes:
    """The bytes of a file. Raises `Invalid`."""
    try:
        return b64decode(file.content, validate=True)
    except ValueError:  # of characters that are not ASCII, too
        raise Invalid(f"The content of {file.name[:100]!a} is not base64.") from None


def described(text: str, said: Json) -> str:
    """The YAML with these options under `metadata.mcp`. Raises `Invalid` for one that has metadata."""
    if not said:
        return text
    if METADATA.search(text):
        raise Invalid(
            "The YAML has `metadata`: say there, under `mcp`, what `description` and `skip_mcp` say."
        )
    return f"{text}\nmetadata: {dump({'mcp': said}).decode()}\n"
