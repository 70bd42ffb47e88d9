"""Commands that write files for a person: a first pipeline, the configuration of a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..settings import given
from . import banner, places
from .remote import dumped, json_option, write

CLIENTS = ("claude-desktop", "claude-code", "cursor", "vscode", "gemini", "codex", "goose", "windsurf")


@click.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["wrapper", "yaml", "steps"]),
    default="wrapper",
    help="A Python class (default), a Haystack YAML, or a YAML of steps.",
)
@json_option
def new(name: str, kind: Any, as_json: bool) -> None:
    """Write a pipeline to start from.

    It goes into the new folder NAME, and works at once.
    """
    from . import starters  # the catalog would slow down `--help`

    file = starters.write(name, kind)
    if as_json:
        click.echo(dumped({"name": name, "kind": kind, "file": str(file)}))
        return
    click.echo(f"{file} is written.")
    click.echo("Serve this folder:  mcp-server run . --reload")
    click.echo(f"Or deploy it:       mcp-server pipeline deploy {name}")


@click.command()
@click.argument("client", type=click.Choice(CLIENTS))
@click.argument("folder", required=False)
@click.option("--name", metavar="NAME", help="What the client calls the server. Default: the folder's name.")
@click.option("--print", "only_print", is_flag=True, help="Show it, write nothing.")
@json_option
def install(client: str, folder: str | None, name: str | None, only_print: bool, as_json: bool) -> None:
    """Let a client start the server.

    Puts it, over FOLDER, into the configuration of CLIENT. What else is in the file stays as it is, and is
    kept in a copy beside it.
    """
    from . import installing  # reads its data, which no other command needs

    known = installing.clients()[client]
    change = installing.change(known, places.checked(given(folder=folder)), name)
    kept = None if only_print else installing.write(change)
    if as_json:
        told = {"client": client, "file": str(change.path), "written": not only_print, "entry": change.entry}
        click.echo(dumped(told | ({"backup": str(kept)} if kept else {})))
        return
    click.echo(f"{'For' if only_print else 'Written to'} {change.path}:\n\n{change.entry.rstrip()}\n")
    if kept:
        click.echo(f"What was there before is in {kept.name}, beside it.")
    if not only_print:
        click.echo(known.next)


@click.command()
@click.argument("folder", required=False)
@click.option("--output", metavar="FILE", help="Default: NAME.mcpb, or server.json.")
@click.option("--name", metavar="NAME", help="What clients call it. Default: the folder's name.")
@click.option("--number", metavar="VERSION", default="1.0.0", show_default=True, help="The bundle's version.")
@click.option("--registry", metavar="NAME", help="Write a server.json for the public registry in its place.")
@json_option
def bundle(
    folder: str | None, output: str | None, name: str | None, number: str, registry: str | None, as_json: bool
) -> None:
    """Write a folder as a bundle for clients.

    A bundle (.mcpb) is installed with a click. Hidden files of FOLDER stay out.
    """
    from . import bundle as bundling  # the catalog would slow down `--help`

    if registry is not None:
        file = Path(output or "server.json")
        told = {"file": str(file), "name": registry}
        write(file, dumped(bundling.registered(registry)) + "\n")
    else:
        settings = places.checked(given(folder=folder))
        assert settings.folder is not None, "it was checked"
        name = name or banner.server_name(settings)
        file = Path(output or f"{name}.mcpb")
        told = {"file": str(file), "pipelines": bundling.write(settings.folder, name, number, file)}
    click.echo(dumped(told) if as_json else f"{file} is written.")
