"""Runs the protocol's conformance suite against a real server, for both versions of the specification.

    python tests/conformance/run.py [SPEC_VERSION ...]

Exit status 0 if exactly the failures listed in `expected-VERSION.yml` beside this file occur: a new one is a
fault of ours, and one that no longer occurs must leave the list. Needs npx; the suite brings its own Node.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio
import anyio.to_thread

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # the tests' own modules

from clients import serve  # noqa: E402

SUITE = [
    "-y",
    "-p",
    "node@22",
    "-p",
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "conformance",
    "server",
]
VERSIONS = ["2025-11-25", "2026-07-28"]
LIMIT = 600
"""Seconds one run of the suite may take, the download of it included."""


async def main(versions: list[str]) -> int:
    """Serve the fixtures, run the suite for each version, and give the number of versions that failed."""
    if shutil.which("npx") is None:
        print("conformance: npx is not installed, nothing was checked", file=sys.stderr)
        return 1
    async with serve(HERE / "pipelines") as served:
        url = served.url.replace("127.0.0.1", "localhost") + "/mcp"  # a name, so that rebinding is tested too
        return sum([await anyio.to_thread.run_sync(check, url, version) for version in versions])


def check(url: str, version: str) -> bool:
    """Run the suite for one version; True if its outcome is not the expected one."""
    expected = HERE / f"expected-{version}.yml"
    flags = ["--url", url, "--suite", "all", "--spec-version", version, "--expected-failures", str(expected)]
    with tempfile.TemporaryDirectory() as results:
        ended = subprocess.run(
            ["npx", *SUITE, *flags, "-o", results], cwd=results, timeout=LIMIT, check=False
        )
    return ended.returncode != 0


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1:] or VERSIONS))
