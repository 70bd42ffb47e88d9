"""What `mcp-server run` tells the person who started it: addresses, tools, history, how to connect."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import SecretStr

from ..models import Options, Status
from ..settings import DOTENV, FILE, Settings

LONGEST = 100
"""Characters of a description that are shown."""
NAMED = 5
"""Pipelines that are named where only some are."""
UNREPEATED = {"folder", "host", "port", "allowed_hosts", "allowed_origins", "insecure_no_auth", "webhooks"}
"""What a command that speaks stdio does not repeat: the folder is its argument, it has no address of its own,
and those of webhooks may hold secrets."""


def addresses(url: str, folder: Path) -> str:
    """Where it listens, and what it serves."""
    return (
        f"Serving {folder}\n"
        f"  Streamable HTTP  {url}/mcp\n"
        f"  SSE              {url}/sse\n"
        f"  Status           {url}/status\n"
    )


def tools(statuses: Iterable[Status]) -> str:
    """The tools that serve; then those that do not, each with its reason."""
    known = sorted(statuses, key=lambda status: status.name)
    width = max((len(status.name) for status in known), default=0)
    serving = [_line(s, width, first_sentence(s.description or "")) for s in known if s.status == "running"]
    resting = [_line(s, width, _reason(s)) for s in known if s.status != "running"]
    parts = ["\n".join(["Tools", *(serving or ["  none yet"])])]
    if resting:
        parts.append("\n".join(["Not served", *resting]))
    return "\n\n".join(parts) + "\n"


def history(settings: Settings, pipelines: Mapping[str, Options], fault: str | None) -> str:
    """What is recorded of runs and where, in one line, and which pipelines say otherwise."""
    where = f"in memory only ({_plain(fault)})" if fault else f"in {_place(settings.database())}"
    kept = f"{settings.record}, {settings.keep_days} days, {where}"
    for recording, names in _otherwise(settings, pipelines).items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        kept += f"; {recording}: {', '.join(names[:NAMED])}{more}"
    return f"History\n  {kept}\n"


def announcement(
    url: str,
    settings: Settings,
    statuses: Iterable[Status],
    pipelines: Mapping[str, Options],
    fault: str | None,
) -> str:
    """Addresses, pipelines and history for a program: a JSON object in one line, of ASCII only."""
    kept = {"fault": fault} if fault else {"place": _place(settings.database())}
    told = {
        "url": url,
        **{surface: f"{url}/{surface}" for surface in ("mcp", "sse", "status")},
        "folder": str(settings.folder),
        "pipelines": [
            status.model_dump(mode="json", exclude_none=True)
            for status in sorted(statuses, key=lambda status: status.name)
        ],
        "history": {
            "record": settings.record,
            "keep_days": settings.keep_days,
            **kept,
            "otherwise": _otherwise(settings, pipelines),
        },
    }
    return json.dumps(told)


def clients(settings: Settings, url: str, token: str | None = None) -> str:
    """Configurations to paste: one with absolute paths for clients that start the server, one by URL.

    The token lets a client manage where the system does not tell whose it is.
    """
    name = server_name(settings)
    program, *arguments = command(settings)
    started = {"mcpServers": {name: {"command": program, "args": arguments}}}
    headers = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    reached = {"mcpServers": {name: {"type": "http", "url": f"{url}/mcp", **headers}}}
    return (
        "Connect a client: one that starts the server itself (Claude Desktop, Cursor, …)\n"
        f"  {json.dumps(started, ensure_ascii=False)}\n"
        "or one that connects to this server (Claude Code, Cursor, …)\n"
        f"  {json.dumps(reached, ensure_ascii=False)}\n"
    )


def _otherwise(settings: Settings, pipelines: Mapping[str, Options]) -> dict[str, list[str]]:
    """What is recorded of the pipelines that say it themselves: their names by what they say."""
    said = {name: options.record for name, options in pipelines.items() if options.record}
    differing = sorted({*said.values()} - {settings.record})
    return {recording: sorted(name for name in said if said[name] == recording) for recording in differing}


def _place(database: Path | str) -> str:
    """Where the database is, without what opens it."""
    if isinstance(database, Path):
        return str(database)
    url = urlsplit(database)
    return f"PostgreSQL at {url.hostname or 'localhost'}{url.path}"


def _line(status: Status, width: int, text: str) -> str:
    return f"  {status.name:<{width}}  {text}".rstrip()


def _reason(status: Status) -> str:
    if status.status == "undeployed":
        return f'undeployed; deploy_pipeline(name="{status.name}", files={{}}) brings it back'
    return f"{status.status}: {_plain(status.error)}" if status.error else status.status


def first_sentence(text: str) -> str:
    """Up to the first full stop, in one line, at most `LONGEST` characters."""
    sentence = re.split(r"(?<=[.!?])\s|\n\s*\n", text.strip(), maxsplit=1)[0]
    plain = _plain(sentence)
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1].rstrip() + "…"


def _plain(text: str) -> str:
    """In one line and without control characters: whoever deploys must not steer this terminal."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def server_name(settings: Settings) -> str:
    """The folder's name as a client accepts it; short, because clients put it before every tool's name."""
    name = settings.folder.name if settings.folder else ""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:20] or "haystack"


def command(settings: Settings) -> list[str]:
    """What starts this server again with the same settings, from any directory."""
    script = Path(sys.executable).with_name("mcp-server.exe" if sys.platform == "win32" else "mcp-server")
    program = [str(script)] if script.is_file() else [sys.executable, "-m", "mcp_server"]
    here = ["-C", str(Path.cwd())] if DOTENV.is_file() or FILE.is_file() else []
    return [*program, "run", str(settings.folder), "--stdio", *here, *_flags(settings)]


def _flags(settings: Settings) -> list[str]:
    """The settings that differ from their defaults, as flags, which many may read: without any secret."""
    changed = settings.model_dump(exclude=UNREPEATED, exclude_defaults=True)
    if "store" in changed:
        changed["store"] = _without_password(changed["store"])
    open_ = {name: value for name, value in changed.items() if not isinstance(value, SecretStr)}
    return [word for name, value in sorted(open_.items()) for word in _flag(name, value)]


def _without_password(url: str) -> str:
    """The address of a database. PostgreSQL's clients find a password themselves: ~/.pgpass, PGPASSWORD."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    query = urlencode([each for each in parse_qsl(parts.query) if each[0] != "password"])
    hides = parts.password is not None or "password=" in parts.query
    netloc = f"{user.partition(':')[0]}{at}{place}"
    return parts._replace(netloc=netloc, query=query).geturl() if hides else url


def _flag(name: str, value: float | str | Path | tuple[str, ...]) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:].removeprefix('allow-')}"]
    return [flag, ",".join(value) if isinstance(value, tuple) else str(value)]
