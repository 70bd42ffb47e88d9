"""`mcp-server pipeline …`, and the commands of it that have a short form: deploy, list, run, versions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..models import Json
from . import views
from .groups import group
from .parameters import arguments, param_option, uploads, whole
from .remote import json_option, talks, url_option

if TYPE_CHECKING:
    from .connection import Connection

pipeline = group("pipeline", "Deploy, run and version pipelines.")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _deploys(command: Any) -> Any:
    """Add the flags of a deploy, also as Hayhooks spells them."""
    for option in (
        click.option(
            "--no-save",
            "--skip-saving-files",
            "unsaved",
            is_flag=True,
            help="Forget it when the server stops.",
        ),
        click.option("--overwrite", "-o", is_flag=True, help="Replace the pipeline of this name."),
        click.option("--name", "-n", metavar="NAME", help="Its name. Default: that of the folder or file."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("name", required=False)
@talks(views.status)
async def status(server: Connection, name: str | None) -> Json:
    """Tell how pipelines are doing.

    With NAME, everything about one.
    """
    if name:
        return await server.ask("get_pipeline_status", pipeline_name=name)
    return {"server": server.url} | await server.ask("get_all_pipeline_statuses")


@pipeline.command("list")
@talks(views.pipelines)
async def list_(server: Connection) -> Json:
    """List pipelines and what they do."""
    return await server.ask("get_all_pipeline_statuses")


@pipeline.command()
@click.argument("folder", type=FOLDER)
@_deploys
@talks(views.deployed)
async def deploy(server: Connection, folder: Path, name: str | None, overwrite: bool, unsaved: bool) -> Json:
    """Deploy a folder.

    FOLDER has a pipeline_wrapper.py or a YAML, and what it needs beside it.
    """
    return await _deploy(server, name or _name(folder), folder, overwrite, unsaved)


@pipeline.command("deploy-yaml")
@click.argument("file", type=FILE)
@_deploys
@talks(views.deployed)
async def deploy_yaml(
    server: Connection, file: Path, name: str | None, overwrite: bool, unsaved: bool
) -> Json:
    """Deploy a YAML file."""
    return await _deploy(server, name or file.stem, file, overwrite, unsaved)


async def _deploy(server: Connection, name: str, place: Path, overwrite: bool, unsaved: bool) -> Json:
    files = _sources(name, place)
    return await server.ask(
        "deploy_pipeline", name=name, files=files, overwrite=overwrite, save_files=not unsaved
    )


def _name(folder: Path) -> str:
    """What a folder is called, also if it was given as `.`."""
    return folder.resolve().name


def _sources(name: str, place: Path) -> Mapping[str, str]:
    """The text of every file. Raises `click.UsageError` for one that is not text: it cannot be sent."""
    from ..catalog.folder import read  # the catalog would slow down `--help`

    source = read(name, place)
    if source.others:
        raise click.UsageError(
            f"only code and text is deployed, which this is not: {', '.join(sorted(source.others))}"
        )
    return {path: content.decode() for path, content in source.files.items()}


@pipeline.command()
@click.argument("name")
@talks(views.undeployed)
async def undeploy(server: Connection, name: str) -> Json:
    """Take a pipeline out of service."""
    return await server.ask("undeploy_pipeline", pipeline_name=name)


@pipeline.command("run")
@click.argument("name")
@param_option
@click.option("--file", "files", multiple=True, type=FILE, help="A file to upload. Repeat it for more.")
@click.option("--dir", "folders", multiple=True, type=FOLDER, help="A folder of files to upload.")
@click.option("--stream", is_flag=True, help="Print text as it comes.")
@click.option(
    "--local", metavar="FOLDER", is_flag=False, flag_value=".", help="Run it from FOLDER, without a server."
)
@url_option
@json_option
def run(
    name: str,
    params: tuple[str, ...],
    files: tuple[Path, ...],
    folders: tuple[Path, ...],
    stream: bool,
    local: str | None,
    url: str | None,
    as_json: bool,
) -> None:
    """Run a pipeline and print what it gives.

    Asks on the terminal if the pipeline asks. Interrupting it stops the run.
    """
    from . import calling  # the protocol's library would slow down `--help` and every refusal

    inputs, named = arguments(params), [*uploads(files, folders)]
    calling.run(name, inputs, named, url=url, as_json=as_json, stream=stream, local=local)


@click.command()
@click.argument("tool")
@click.argument("json_arguments", metavar="[ARGUMENTS]", default="{}")
@param_option
@url_option
@json_option
def call(tool: str, json_arguments: str, params: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Call any tool.

    ARGUMENTS are a JSON object; or give them with --param.
    """
    from . import calling  # as above

    given = whole(json_arguments) | arguments(params)
    calling.call(tool, given, tool, url=url, as_json=as_json, stream=False, local=None)


@pipeline.command()
@click.argument("name")
@talks(views.versions)
async def versions(server: Connection, name: str) -> Json:
    """List the versions of a pipeline, newest first."""
    return await server.ask("list_versions", name=name)


@pipeline.command()
@click.argument("name")
@click.argument("version")
@click.option(
    "--stage", default="production", metavar="STAGE", help="production (default), staging, archived or none."
)
@click.option("--share", type=float, help="For staging: share of the calls it gets, 0 to 1.")
@click.option("--archive", is_flag=True, help="Archive the version it displaces.")
@talks(views.staged)
async def promote(
    server: Connection, name: str, version: str, stage: str, share: float | None, archive: bool
) -> Json:
    """Choose the version that answers the calls.

    Or give VERSION another stage.
    """
    given: Json = {"share": share} if share is not None else {}
    return await server.ask(
        "set_stage", name=name, version=version, stage=stage, archive_existing=archive, **given
    )


@pipeline.command()
@click.argument("name")
@click.argument("version", required=False)
@talks(views.staged)
async def rollback(server: Connection, name: str, version: str | None) -> Json:
    """Go back to an earlier version.

    Without VERSION, to the one before.
    """
    if version is None:
        version = _before(await server.ask("list_versions", name=name), name)
    return await server.ask("set_stage", name=name, version=version, stage="production")


@pipeline.command()
@click.argument("name")
@click.argument("first", required=False)
@click.argument("second", required=False)
@talks(views.compared)
async def diff(server: Connection, name: str, first: str | None, second: str | None) -> Json:
    """Show what changed between two versions.

    Without FIRST and SECOND, between the newest and the one before.
    """
    if first is None or second is None:
        known = [each["version"] for each in (await server.ask("list_versions", name=name))["versions"]]
        second = second or next((each for each in known if each != first), "")
        first = first or next((each for each in known if int(each) < int(second or 0)), None)
        if first is None:
            raise click.UsageError(f"{name} has one version only; there is nothing to compare")
    return await server.ask("compare_versions", name=name, first=first, second=second)


def _before(listed: Json, name: str) -> str:
    """The version that production had before the one it has."""
    known: dict[str, Json] = {each["version"]: each for each in listed["versions"]}
    serving = next((each for each in known.values() if each["stage"] == "production"), None)
    if serving is not None:
        earlier = [number for number in known if int(number) < int(serving["version"])]
        for found in (serving.get("parent"), *earlier):
            if found in known:
                return found
    raise click.UsageError(f"{name} has no version before the one that serves")


pipeline.add_command(deploy, "deploy-files")
