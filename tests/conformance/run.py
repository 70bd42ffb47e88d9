"""Runs the protocol's conformance suite against a real server: for both versions of the specification, and
all of it, extensions included.

    python tests/conformance/run.py [--no-express] [SPEC_VERSION | all ...]

What the suite asks for, its tools, resources and prompts, are the pipeline folders beside this file. Exit
status 0 if nothing failed and no fewer checks passed than are listed here. With `--no-express` it is asked
of a server without the express lane. Needs npx; the suite brings its own Node.
"""

from __future__ import annotations

import re
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
ALL = "all"
PASSED = {"2025-11-25": 84, "2026-07-28": 152, ALL: 234}
"""Checks that pass, by version of the specification; without one the suite runs extensions too."""
TOTAL = re.compile(r"^Total: (\d+) passed, (\d+) failed", re.MULTILINE)
LIMIT = 600
"""Seconds one run of the suite may take, the download of it included."""


async def main(versions: list[str]) -> int:
    """Serve the fixtures, run the suite for each version, and give the number of versions that failed.

    What begins with dashes is a flag of the server.
    """
    if shutil.which("npx") is None:
        print("conformance: npx is not installed, nothing was checked", file=sys.stderr)
        return 1
    flags = [each for each in versions if each.startswith("--")]
    versions = [each for each in versions if not each.startswith("--")] or [*PASSED]
    direct = ("--tool-mode", "direct")  # the suite does not search
    async with serve(HERE / "pipelines", *direct, *flags) as served:
        url = served.url.replace("127.0.0.1", "localhost") + "/mcp"  # a name, so that rebinding is tested too
        return sum([await anyio.to_thread.run_sync(falls_short, url, each) for each in versions])


def falls_short(url: str, version: str) -> bool:
    """Run the suite for one version; True if a check failed, or fewer passed than should."""
    wanted = PASSED[version]
    flags = ["--url", url, "--suite", "all", *([] if version == ALL else ["--spec-version", version])]
    with tempfile.TemporaryDirectory() as results:
        ended = subprocess.run(
            ["npx", *SUITE, *flags, "-o", results],
            cwd=results,
            timeout=LIMIT,
            check=False,
            stdout=subprocess.PIPE,
            text=True,
        )
    print(ended.stdout)
    totals = TOTAL.findall(ended.stdout)
    passed, failed = map(int, totals[-1]) if totals else (0, 0)
    print(f"conformance: {version}: {passed} passed, {failed} failed, {wanted} have to pass")
    return ended.returncode != 0 or failed > 0 or passed < wanted


if __name__ == "__main__":
    sys.exit(anyio.run(main, sys.argv[1:]))
