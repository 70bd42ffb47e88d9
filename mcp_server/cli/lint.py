"""`mcp-server lint`: loads a folder's pipelines, and tells what clients would refuse or cut."""

from __future__ import annotations

import anyio
import click
import orjson

from ..catalog import Snapshot
from ..clients import Effect, clients
from ..lint import Finding, check_list, check_tool
from ..models import Caller, Json
from ..server import Server
from ..settings import Settings
from ..surfaces.mcp.toolsets import Toolset, made
from .banner import server_name

LIST = "(the list)"
"""Where a pipeline's name stands, for what is wrong with all of them together."""


def lint(settings: Settings, *, as_json: bool) -> int:
    """Tell what was found, on stdout; give 1 if something does not load or breaks in a client, else 0.

    The settings need a state folder of their own: it keeps what was undeployed.
    """
    snapshot = anyio.run(_loaded, settings)
    found = findings(snapshot, settings)
    click.echo(report_json(found, len(snapshot.entries)) if as_json else report(found, len(snapshot.entries)))
    return int(any(finding.effect == "breaks" for _, finding in found))


def findings(snapshot: Snapshot, settings: Settings) -> list[tuple[str, Finding]]:
    """Everything there is to say, by the name of the pipeline; what concerns the whole list comes last."""
    server = server_name(settings)
    found = [(name, each) for name in snapshot.entries for each in _of(snapshot, name, server)]
    view = made(snapshot, Toolset(frozenset(settings.toolsets)), settings.tool_mode, Caller())
    return [*found, *((LIST, each) for each in check_list([*view.tools.values()]))]


def report(found: list[tuple[str, Finding]], pipelines: int) -> str:
    """A line for each finding, by pipeline, and a line that counts."""
    width = max((len(name) for name, _ in found), default=0)
    lines = [f"{name:<{width}}  {_severity(each):<7}  {each}" for name, each in found]
    errors = sum(each.effect == "breaks" for _, each in found)
    counts = f"{pipelines} pipelines: {errors} errors, {len(found) - errors} warnings"
    return "\n".join([*lines, f"{counts} (limits of clients as of {clients().checked:%B %Y})"])


def report_json(found: list[tuple[str, Finding]], pipelines: int) -> str:
    """The same for programs."""
    listed = [
        {"pipeline": None if name == LIST else name, "severity": _severity(each), **each.model_dump()}
        for name, each in found
    ]
    errors = sum(each.effect == "breaks" for _, each in found)
    whole: Json = {"pipelines": pipelines, "errors": errors, "warnings": len(found) - errors}
    whole |= {"checked": clients().checked, "findings": listed}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode()


async def _loaded(settings: Settings) -> Snapshot:
    """The folder's pipelines after each has loaded or failed."""
    async with Server(settings) as server:
        return await server.catalog.ready(settings.load_timeout)


def _of(snapshot: Snapshot, name: str, server: str) -> list[Finding]:
    """What there is to say of one pipeline."""
    entry = snapshot.entries[name]
    if entry.problem or entry.version is None or entry.version.manifest is None:
        reason = str(entry.problem) if entry.problem else "it did not load in time"
        return [_own("load", "breaks", reason)]
    manifest = entry.version.manifest
    told = [
        _own("author", "advice", warning)
        for warning in (*manifest.warnings, *snapshot.shadowed.get(name, ()))
    ]
    return told if entry.options.hidden else [*check_tool(manifest.tool, server), *told]


def _own(rule: str, effect: Effect, message: str) -> Finding:
    """What no client's limit says, but the pipeline's own load."""
    return Finding(rule=rule, effect=effect, message=message, clients=())


def _severity(finding: Finding) -> str:
    return "error" if finding.effect == "breaks" else "warning"
