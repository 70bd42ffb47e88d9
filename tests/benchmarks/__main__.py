"""Measures every row of the table and prints it: `python -m tests.benchmarks [ROW ...]`.

The status is 1 if an answer was wrong, 2 if a floor was missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import uvloop

from . import section
from .harness import Bench, Finding
from .peers import BESIDE, installed, known
from .report import Figures, versions
from .rows import ROWS


def main() -> int:
    """Measure what is asked for, and tell it."""
    parser = parsing()
    given = parser.parse_args()
    if unknown := set(given.rows) - set(ROWS):
        parser.error(f"no such row: {', '.join(unknown)}")
    if given.readme and (given.rows or given.quick or given.alone):
        parser.error("--readme tells of a whole measurement: leave out ROW, --quick and --alone")
    figures, errors = (Figures.read(given.figures), []) if given.figures else measured(given)
    print(figures.table())
    if given.json:
        given.json.write_text(figures.text())
    for error in errors:
        print(f"wrong: {error}", file=sys.stderr)
    if errors:
        return 1
    if given.readme:
        section.write(figures)
    return 0 if given.quick or all(each.holds for each in figures.findings) else 2


def parsing() -> argparse.ArgumentParser:
    """What may be asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="few requests: the answers count, no speed")
    parser.add_argument("--alone", action="store_true", help="without FastMCP and Hayhooks")
    parser.add_argument("--peers", type=Path, default=BESIDE, help=f"where those are installed: {BESIDE}")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument(
        "--from", dest="figures", type=Path, help="figures to tell again, nothing is measured"
    )
    parser.add_argument(
        "--readme", action="store_true", help="write README's section, its picture and figures"
    )
    return parser


def measured(given: argparse.Namespace) -> tuple[Figures, list[str]]:
    """The figures, and the answers that were wrong."""
    others, missing = ({}, {}) if given.alone or given.quick else installed(given.peers)
    peers = {**known(), **others}
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), peers, missing, quick=given.quick)
        findings = uvloop.run(measure(bench, given.rows or list(ROWS)))
    return Figures(findings, bench.costs, versions(peers), load=load), bench.errors


async def measure(bench: Bench, rows: list[str]) -> list[Finding]:
    """The rows, one after the other."""
    found: list[Finding] = []
    for row in rows:
        print(f"measuring {row}", file=sys.stderr)
        try:
            found += await ROWS[row](bench)
        except (OSError, RuntimeError) as error:  # a server that did not start; the other rows still count
            bench.errors.append(f"{row}: {type(error).__name__}: {str(error)[-600:]}")
    return found


if __name__ == "__main__":
    sys.exit(main())
