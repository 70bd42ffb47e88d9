"""`mcp-server runs …`: what ran, what goes on, what waits for an answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..models import Json
from . import views
from .groups import group
from .parameters import arguments, param_option
from .remote import talks, write

if TYPE_CHECKING:
    from .connection import Connection

input_option = click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="NAME=VALUE",
    help="Another input of that component; a value that is not JSON is text. Repeat it for more.",
)
runs = group("runs", "List, show, stop, answer, rewind, fork and export runs.")


@runs.command("list")
@click.option("--pipeline", metavar="NAME", help="Only runs of this pipeline.")
@click.option(
    "--status", metavar="STATUS", help="Only queued, running, waiting, done, failed or cancelled ones."
)
@click.option("--version", metavar="NUMBER", help="Only runs of this version.")
@click.option("--since", metavar="TIME", help="Only runs begun then or later, as 2026-01-31T15:30.")
@click.option("--until", metavar="TIME", help="Only runs begun before that.")
@click.option("--limit", type=int, default=20, show_default=True, help="How many at most.")
@talks(views.runs)
async def list_(server: Connection, limit: int, **wanted: str | None) -> Json:
    """List runs, the newest first."""
    given = {key: value for key, value in wanted.items() if value is not None}
    return await server.ask("list_runs", limit=limit, **given)


@runs.command()
@click.argument("run")
@talks(views.run)
async def show(server: Connection, run: str) -> Json:
    """Show a run: status, question, result."""
    return await server.ask("get_run", run_id=run)


@runs.command()
@click.argument("run")
@talks(views.run)
async def cancel(server: Connection, run: str) -> Json:
    """Stop a run."""
    return await server.ask("cancel_run", run_id=run)


@runs.command()
@click.argument("run")
@param_option
@click.option("--decline", is_flag=True, help="Decline to answer.")
@talks(views.run)
async def answer(server: Connection, run: str, params: tuple[str, ...], decline: bool) -> Json:
    """Answer what a run asks.

    With --param for each field, else on the terminal.
    """
    from . import answering  # the protocol's library would slow down `--help` and every refusal

    question: Json = (await server.ask("get_run", run_id=run)).get("question", {})
    if decline:
        answers: Json = dict.fromkeys(question, "decline")
    elif params or not sys.stdin.isatty():
        answers = answering.given(question, arguments(params))
    else:
        answers = answering.asked(question)
    return await server.ask("answer_run", run_id=run, answers=answers)


@runs.command()
@click.argument("run")
@click.argument("step", required=False)
@click.option("--step", "label", metavar="LABEL", help="STEP, said as for fork.")
@input_option
@talks(views.standing)
async def rewind(
    server: Connection, run: str, step: str | None, label: str | None, inputs: tuple[str, ...]
) -> Json:
    """Go back to a step, to choose again.

    Or to a component that was recorded, to run it and what comes after it again.
    """
    if (step is None) == (label is None):
        raise click.UsageError("name one step to go back to: STEP or --step LABEL")
    return await server.ask("rewind_run", run_id=run, target_step=step or label, **_changed(inputs))


@runs.command()
@click.argument("run")
@click.option("--response", metavar="ID", help="The response the new run goes on with, such as resp-002.")
@click.option("--name", metavar="NAME", default="", help="What to call the branch.")
@click.option("--step", metavar="LABEL", help="The recorded component to run again, as retriever#2.")
@input_option
@talks(views.standing)
async def fork(
    server: Connection, run: str, response: str | None, name: str, step: str | None, inputs: tuple[str, ...]
) -> Json:
    """Make a run that shares another one's past."""
    chosen = {"from_response_id": response, "step": step}
    given = {key: value for key, value in chosen.items() if value is not None}
    return await server.ask("fork_run", run_id=run, branch_name=name, **given, **_changed(inputs))


def _changed(inputs: tuple[str, ...]) -> Json:
    """The inputs that are given anew, as the tools take them."""
    return {"inputs": arguments(inputs, "--input")} if inputs else {}


@runs.command()
@click.argument("run")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it to this file.")
@click.option("--no-history", is_flag=True, help="Leave out what an import would need.")
@talks(views.exported)
async def export(server: Connection, run: str, output: Path | None, no_history: bool) -> Json:
    """Give a step-wise run as YAML.

    Its result, responses, choices and costs.
    """
    found = await server.ask("export_run", run_id=run, include_history=not no_history)
    if output is None:
        return found
    write(output, found["yaml"])
    return {"run_id": found["run_id"], "file": str(output)}
