"""`mcp-server audit …`: who changed what, and whether the log of it is whole. Needs no server."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial

import click

from ..models import Json
from ..settings import given
from .groups import group
from .leaving import refused
from .printing import table
from .remote import dumped, json_option

audit = group("audit", "List who changed what, and verify that the list is whole.")
state_option = click.option(
    "--state", metavar="TEXT", help="Where the server keeps its own files, if it was told."
)


@audit.command("list")
@click.argument("folder", required=False)
@state_option
@click.option("--limit", type=int, default=50, show_default=True, help="How many at most.")
@json_option
def list_(folder: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List what was done, the newest first.

    By whom, from where, on what, and what came of it, for the server of FOLDER.
    """
    settings = given(folder=folder, state=state)
    from ..store import audit_rows  # the database's library would slow down `--help` and every refusal

    found = audit_rows.look(settings.database(), partial(audit_rows.listed, limit=limit, before=None))
    rows: list[Json] = [
        {"number": each.number, "time": moment(each.time), **asdict(each.event), "hash": each.hash}
        for each in found
    ]
    if as_json:
        click.echo(dumped({"records": rows}))
        return
    columns = ("number", "time", "action", "caller", "origin", "peer", "subject", "version", "outcome")
    table([column.upper() for column in columns], [[row[column] for column in columns] for row in rows])


@audit.command()
@click.argument("folder", required=False)
@state_option
@click.option("--expect", metavar="HASH", help="A head that was noted before: it must still be in the log.")
@json_option
def verify(folder: str | None, state: str | None, expect: str | None, as_json: bool) -> int:
    """Tell whether the audit log is whole.

    Every record holds a hash over itself and the one before; the last one's is the head. The status is 1
    if a record was changed, added or taken away. Note the head elsewhere to find a log that was written anew.
    """
    settings = given(folder=folder, state=state)
    from ..store import audit_rows  # the database's library would slow down `--help` and every refusal

    found = audit_rows.look(settings.database(), partial(audit_rows.verified, expected=expect))
    if as_json:
        click.echo(dumped({"whole": found.fault is None, **asdict(found)}))
    elif found.fault is None:
        click.echo(f"{found.records} records, head {found.head}")
    if found.fault is not None:
        return refused(f"the audit log is not whole: {found.fault}", 1)
    return 0


def moment(seconds: float) -> str:
    """A time in UTC to the second (ISO 8601)."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
