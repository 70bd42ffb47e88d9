"""Commands that write files for a person: a first pipeline, the configuration of a client."""

from __future__ import annotations

from typing import Any

import click

from ..settings import given
from . import places
from .remote import dumped, json_option

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
    """Write a pipeline to start from, into the new folder NAME. It works at once."""
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
    """Let CLIENT start this server over FOLDER: put it into its configuration.

    What else is in the file stays as it is, and is kept in a copy beside it.
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
