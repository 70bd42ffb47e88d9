"""`mcp-server bundle`: a folder of pipelines as one file that clients install, and an entry for the registry.

The file is an MCP bundle (.mcpb, manifest version 0.4) of the server type `uv`: the client makes the
environment from `pyproject.toml` when it first starts the server, which needs a network. The entry is a
`server.json` of the public registry (schema 2025-12-11).
"""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson

from ..catalog.folder import Found, scan
from ..errors import Unusable
from ..models import Json
from ..pipelines.options import options_of

DISTRIBUTION = "haystack-mcp-server"
SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
REQUIREMENTS = "requirements.txt"
SKIPPED = {"__pycache__", "node_modules"}
FOLDER = "pipelines"
SERVER = f'''"""Serves the pipelines beside this file to the client that started it."""

import sys
from pathlib import Path

from mcp_server.cli import main

sys.argv = ["mcp-server", "run", str(Path(__file__).with_name("{FOLDER}")), "--stdio"]
main()
'''


def write(folder: Path, name: str, number: str, output: Path) -> tuple[str, ...]:
    """Write the bundle; gives the names of the pipelines in it. Hidden files, such as `.env`, stay out.

    Raises `Unusable` if the folder has no pipelines, if one is broken, or if the file cannot be written.
    """
    found = scan(folder)
    for each in found:
        if each.problem:
            raise Unusable(f"{each.name}: {each.problem}")
    if not found:
        raise Unusable(f"{folder} has no pipelines")
    parts = {
        "manifest.json": orjson.dumps(manifest(name, number, found), option=orjson.OPT_INDENT_2),
        "pyproject.toml": _project(name, number, found).encode(),
        "server.py": SERVER.encode(),
    }
    try:
        files = [*parts.items(), *_files(folder, output)]
        with ZipFile(output, "w", ZIP_DEFLATED) as bundle:
            for path, content in files:
                bundle.writestr(ZipInfo(path), content, ZIP_DEFLATED)
    except OSError as error:
        raise Unusable(f"cannot write {output}: {error.strerror}") from None
    return tuple(each.name for each in found)


def manifest(name: str, number: str, found: Iterable[Found]) -> Json:
    """What the client reads. The variables that pipelines ask for become fields that it asks its user for."""
    names = sorted({each for pipeline in found for each in _variables(pipeline)})
    known = ", ".join(each.name for each in found)
    started = {"command": "uv", "args": ["run", "--directory", "${__dirname}", "server.py"]}
    started |= {"env": {each: f"${{user_config.{each.lower()}}}" for each in names}}
    made: Json = {
        "manifest_version": "0.4",
        "name": name,
        "version": number,
        "description": f"Haystack pipelines: {known}"[:200],
        "author": {"name": getpass.getuser()},
        "server": {"type": "uv", "entry_point": "server.py", "mcp_config": started},
        "tools_generated": True,
        "compatibility": {"platforms": ["darwin", "linux", "win32"], "runtimes": {"python": ">=3.11"}},
    }
    fields = {each.lower(): _field(each) for each in names}
    return made | ({"user_config": fields} if fields else {})


def registered(name: str) -> Json:
    """The entry of the registry under `name`, which the README of the package must hold as `mcp-name: …`.

    Raises `Unusable` for a name that is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]+/[A-Za-z0-9._-]+", name):
        raise Unusable("a name in the registry is like io.github.OWNER/NAME")
    arguments = [
        {"type": "positional", "value": "run"},
        {"type": "positional", "valueHint": "folder", "description": "The folder.", "isRequired": True},
        {"type": "named", "name": "--stdio"},
    ]
    package = {
        "registryType": "pypi",
        "identifier": DISTRIBUTION,
        "version": version(DISTRIBUTION),
        "runtimeHint": "uvx",
        "packageArguments": arguments,
        "transport": {"type": "stdio"},
    }
    about = "Serve a folder of Haystack pipelines as Model Context Protocol tools."
    return {
        "$schema": SCHEMA,
        "name": name,
        "description": about,
        "version": version(DISTRIBUTION),
        "packages": [package],
    }


def _project(name: str, number: str, found: Iterable[Found]) -> str:
    """What the client's environment is made from: this release, and what the pipelines say they need."""
    needed = [
        f"{DISTRIBUTION}=={version(DISTRIBUTION)}",
        *sorted({each for one in found for each in _needed(one)}),
    ]
    listed = orjson.dumps(needed).decode()
    head = f'[project]\nname = "{name}"\nversion = "{number}"\nrequires-python = ">=3.11"\n'
    return f"{head}dependencies = {listed}\n"


def _needed(found: Found) -> list[str]:
    text = found.source.files.get(REQUIREMENTS, b"").decode() if found.source else ""
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _variables(found: Found) -> tuple[str, ...]:
    return options_of(found.source.files).env if found.source else ()


def _field(variable: str) -> Json:
    return {
        "type": "string",
        "title": variable,
        "description": f"The environment variable {variable} of the pipelines.",
        "sensitive": True,
        "required": False,
    }


def _files(folder: Path, output: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below by its path in the bundle, but not the one that is being written."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        mine = path.resolve() == output.resolve()
        if path.is_file() and not mine and not any(part.startswith(".") or part in SKIPPED for part in parts):
            yield "/".join((FOLDER, *parts)), path.read_bytes()
