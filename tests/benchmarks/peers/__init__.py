"""What we compare ourselves with: installed beside us, each in a virtual environment of its own.

bare and the SDK's two servers run with our own Python, so on the same Starlette, uvicorn and SDK as we do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

HERE = Path(__file__).parent
BESIDE = user_cache_path("haystack-mcp-server") / "peers"
"""Where the environments are, unless another folder is given; made once."""
FAST = ("uvloop", "httptools")
"""What makes uvicorn as fast for them as for us."""
INSTALLED: Mapping[str, Sequence[str]] = {
    "FastMCP": ("fastmcp==4.2.3", *FAST),
    "Hayhooks": ("hayhooks[mcp]==2.1.0", *FAST),
}
TOLD = {
    "haystack-mcp-server",
    "fastmcp",
    "hayhooks",
    "mcp",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "haystack-ai",
    "pydantic",
}
"""The packages whose versions are told."""
TELL = """
import json
from importlib.metadata import distributions
print(json.dumps({each.name: each.version for each in distributions()}))
"""


@dataclass(frozen=True)
class Peer:
    """A server to compare with: how it is started on a port, and the versions it runs with."""

    command: Sequence[str]
    """Up to the number of the port."""
    versions: Mapping[str, str]
    path: str = "/mcp"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def start(self, port: int) -> list[str]:
        """The command for this port."""
        return [*self.command, str(port)]


def known() -> Mapping[str, Peer]:
    """Those that need no more than we have."""
    scripts = {"Starlette": "bare.py", "SDK low-level": "sdk_low.py", "SDK high-level": "sdk_high.py"}
    versions = told(Path(sys.executable))
    return {name: Peer((sys.executable, str(HERE / script)), versions) for name, script in scripts.items()}


def installed(beside: Path) -> tuple[Mapping[str, Peer], Mapping[str, str]]:
    """The others, installed in this folder if they are not, and of those that could not be: why."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name, wanted in INSTALLED.items():
        try:
            python = environment(beside / name.lower(), wanted)
        except subprocess.CalledProcessError as error:
            said = (error.stderr or error.stdout or "no reason given").strip().splitlines()
            missing[name] = f"could not be installed: {said[-1]}"
            continue
        found[name] = peer(name, python)
    return found, missing


def peer(name: str, python: Path) -> Peer:
    """One that is installed; as little is logged as with all others."""
    if name == "FastMCP":
        return Peer((str(python), str(HERE / "fastmcp_echo.py")), told(python))
    command = (str(python.parent / "hayhooks"), "mcp", "run", "--pipelines-dir", str(HERE / "hayhooks"))
    return Peer((*command, "--port"), told(python), "/mcp/", {"HAYHOOKS_LOG_LEVEL": "ERROR"})


def environment(folder: Path, wanted: Sequence[str]) -> Path:
    """The Python of a peer's environment, made and filled if need be. Raises `CalledProcessError`."""
    python, stamp = folder / "bin" / "python", folder / "wanted.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != list(wanted):
        print(f"installing {', '.join(wanted)} into {folder}", file=sys.stderr)
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", *wanted],
        ):
            subprocess.run(command, check=True, capture_output=True, text=True)
        stamp.write_text(json.dumps(list(wanted)))
    return python


def told(python: Path) -> Mapping[str, str]:
    """The versions of what matters, in that environment."""
    shown = subprocess.run([str(python), "-c", TELL], check=True, capture_output=True, text=True)
    return {name: version for name, version in sorted(json.loads(shown.stdout).items()) if name in TOLD}
