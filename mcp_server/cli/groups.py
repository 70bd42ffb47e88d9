"""Groups of commands: without a command, one shows its help."""

from __future__ import annotations

import click


def group(name: str, about: str) -> click.Group:
    """An empty group of commands."""

    @click.group(name, help=about, invoke_without_command=True)
    @click.pass_context
    def made(context: click.Context) -> None:
        if context.invoked_subcommand is None:
            click.echo(context.get_help())

    return made
