"""The commands and their flags. A flag per setting, made from `Settings`, so that none can be forgotten."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from ..errors import ServerError
from ..settings import Settings, given
from ..telemetry import lines
from . import garbage, listener, pipelines, places, posture, setup
from .audit import audit
from .importing import importing
from .keys import keys
from .leaving import refused
from .remote import dumped, json_option
from .runs import runs

DISTRIBUTION = "haystack-mcp-server"


def start() -> None:
    """Run the command line and exit. What goes wrong is one line on stderr, never a traceback.

    Status 1: what the command was to do failed. Status 2: it could not begin.
    """
    try:
        status = program.main(prog_name="mcp-server", standalone_mode=False)
    except click.ClickException as error:
        sys.exit(refused(error.format_message(), error.exit_code))
    except ServerError as error:
        sys.exit(refused(str(error)))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)  # 128 + SIGINT, as shells have it
    sys.exit(status)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=DISTRIBUTION, message="%(prog)s %(version)s")
@click.pass_context
def program(context: click.Context) -> None:
    """Serve a folder of Haystack pipelines as Model Context Protocol tools."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@program.command()
@click.argument("folder", required=False)
@click.option("--stdio", is_flag=True, help="Speak the protocol on stdin and stdout; open no port.")
@click.option(
    "-C", "--directory", metavar="DIRECTORY", help="Work there: mcp-server.toml and .env are read there."
)
@json_option
def run(folder: str | None, stdio: bool, directory: str | None, as_json: bool, **flags: Any) -> None:
    """Serve a folder of pipelines.

    Without FOLDER, the current one.

    Each flag is also a setting: --call-timeout is call_timeout in mcp-server.toml, and
    MCP_SERVER_CALL_TIMEOUT in .env and in the environment. Flags win.
    """
    if stdio and as_json:
        raise click.UsageError("--json tells where it listens; with --stdio it listens nowhere")
    if directory is not None:
        places.enter(directory)
    settings = places.checked(given(folder=folder, **flags))
    lines.configure(settings.log_level, settings.log_format, lines.of_request)
    if stdio:
        with importing():
            from . import stdio as serving  # the server's imports would slow down `--help` and every refusal
        serving.serve(settings)
    else:
        posture.check(settings)
        garbage.starting()
        listening = listener.listen(settings.host, settings.port)  # first: clients queue while we import
        with importing():
            from . import http as serving
        serving.serve(settings, listening, as_json=as_json)


@program.command()
@click.argument("folder", required=False)
@json_option
def lint(folder: str | None, as_json: bool) -> int:
    """Tell what clients would refuse or cut.

    Loads the pipelines of FOLDER as `run` does, with the same settings, and serves nothing. The status is 1
    if anything breaks.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as state:  # what was undeployed is looked at, too
        settings = places.checked(given(folder=folder, state=state))
        from . import lint as linting  # the server's imports would slow down `--help` and every refusal

        return linting.lint(settings, as_json=as_json)


@program.command()
@click.argument("file")
@click.argument("folder", required=False)
@click.option("--state", metavar="TEXT", help="Where the server keeps its own files, if it was told.")
@json_option
def backup(file: str, folder: str | None, state: str | None, as_json: bool) -> None:
    """Write the state of a running server to a file.

    Pipelines, versions and runs of the server of FOLDER. FILE is a tar archive; unpacked into an empty
    folder, that is a state to start with.
    """
    settings = given(folder=folder, state=state)
    from ..store import backup as backups  # only needed here

    size = backups.backup(settings.state_folder(), settings.database(), Path(file).absolute())
    click.echo(dumped({"file": file, "bytes": size}) if as_json else f"{file}: {size:,} bytes")


def _flag(name: str, field: FieldInfo) -> click.Option:
    """The flag of a setting. Values stay text: `Settings` alone judges what fits."""
    flag = "--" + name.replace("_", "-")
    if bool in (field.annotation, *get_args(field.annotation)):
        refusing = f"--no-{flag[2:].removeprefix('allow-')}"
        return click.Option([f"{flag}/{refusing}"], default=None, help=field.description)
    default = f" Default: {field.default}." if field.default not in (None, ()) else ""
    return click.Option([flag], metavar=_metavar(field.annotation), help=f"{field.description}{default}")


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    return {int: "NUMBER", float: "SECONDS"}.get(annotation, "TEXT")


run.params.extend(_flag(name, field) for name, field in Settings.model_fields.items() if name != "folder")


for command in (
    pipelines.status,
    pipelines.pipeline,
    runs,
    audit,
    keys,
    pipelines.call,
    setup.new,
    setup.install,
    setup.bundle,
):
    program.add_command(command)
for name in ("list", "deploy-yaml", "undeploy"):
    program.add_command(pipelines.pipeline.commands[name])  # Hayhooks' short forms
