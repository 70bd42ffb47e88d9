"""Measures every row of the table and prints it: `python -m tests.benchmarks [--quick] [ROW ...]`.

Writes the figures as JSON and a picture beside this file. The status is 1 if an answer was wrong, 2 if a
floor was missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import uvloop

from . import report
from .harness import Bench, Finding
from .peers import installed, known
from .rows import ROWS

HERE = Path(__file__).parent


def main() -> int:
    """Measure what is asked for, and tell it."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="few requests: the answers count, no speed")
    parser.add_argument(
        "--alone", action="store_true", help="without FastMCP and Hayhooks, which are installed"
    )
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--picture", type=Path, help="where the picture goes, an SVG")
    given = parser.parse_args()
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(unknown)}")
    peers = dict(known()) | ({} if given.alone or given.quick else dict(installed()))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), peers, quick=given.quick)
        findings = uvloop.run(measure(bench, given.rows or list(ROWS)))
    print(report.table(findings, report.versions(peers)))
    if given.json:
        given.json.write_text(report.as_json(findings, bench.costs, report.versions(peers)))
    if given.picture:
        given.picture.write_text(report.picture(bench.costs))
    for error in bench.errors:
        print(f"wrong: {error}", file=sys.stderr)
    if bench.errors:
        return 1
    return 0 if given.quick or all(each.holds for each in findings) else 2


async def measure(bench: Bench, rows: list[str]) -> list[Finding]:
    """The rows, one after the other."""
    found: list[Finding] = []
    for row in rows:
        print(f"measuring {row}", file=sys.stderr)
        found += await ROWS[row](bench)
    return found


if __name__ == "__main__":
    sys.exit(main())
