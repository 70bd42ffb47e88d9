"""What we compare ourselves with: installed beside us, each in a virtual environment of its own.

bare and the SDK's two servers run with our own Python, so on the same Starlette, uvicorn and SDK as we do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
BESIDE = HERE.parents[2] / ".benchmarks"
"""Where the environments are; made once."""
FAST = ("uvloop", "httptools")
"""What makes uvicorn as fast for them as for us."""
INSTALLED: Mapping[str, Sequence[str]] = {
    "FastMCP": ("fastmcp==4.2.3", *FAST),
    "Hayhooks": ("hayhooks[mcp]==2.1.0", *FAST),
}
TOLD = {
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
    port: Sequence[str] = ()
    """What comes before the number of the port."""
    versions: Mapping[str, str] | None = None

    def start(self, port: int) -> list[str]:
        """The command for this port."""
        return [*self.command, *self.port, str(port)]


def known() -> Mapping[str, Peer]:
    """Those that need no more than we have."""
    scripts = {"Starlette": "bare.py", "SDK low-level": "sdk_low.py", "SDK high-level": "sdk_high.py"}
    versions = told(Path(sys.executable))
    return {
        name: Peer((sys.executable, str(HERE / script)), versions=versions)
        for name, script in scripts.items()
    }


def installed() -> Mapping[str, Peer]:
    """The others, installed if they are not. Needs the package index the first time."""
    fastmcp, hayhooks = environment("FastMCP"), environment("Hayhooks")
    program = str(hayhooks.parent / "hayhooks")
    serving = (program, "mcp", "run", "--pipelines-dir", str(HERE / "hayhooks"))
    return {
        "FastMCP": Peer((str(fastmcp), str(HERE / "fastmcp_echo.py")), versions=told(fastmcp)),
        "Hayhooks": Peer(serving, ("--port",), told(hayhooks)),
    }


def environment(name: str) -> Path:
    """The Python of a peer's environment, made and filled if need be."""
    wanted = INSTALLED[name]
    folder = BESIDE / name.lower()
    python, stamp = folder / "bin" / "python", folder / "wanted.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != list(wanted):
        print(f"installing {', '.join(wanted)} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
        stamp.write_text(json.dumps(list(wanted)))
    return python


def told(python: Path) -> Mapping[str, str]:
    """The versions of what matters, in that environment."""
    shown = subprocess.run([str(python), "-c", TELL], check=True, capture_output=True, text=True)
    return {name: version for name, version in sorted(json.loads(shown.stdout).items()) if name in TOLD}
