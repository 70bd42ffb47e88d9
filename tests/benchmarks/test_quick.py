"""The benchmarks run, and every answer they get is right; how fast is not asked here."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from . import section
from .harness import Finding
from .picture import picture
from .report import Figures
from .rows import ROWS

LIMIT = 600
"""Seconds: many times what it takes, for a busy machine."""
FIGURES = Figures(
    [
        Finding("calls", 0.81, 0.7, era="2026-07-28"),
        Finding("calls", 0.69, 0.7, era="2025-11-25"),
        Finding("memory", 12.3, 25, at_least=False, unit="MB"),
        Finding("of a peer", None, 10, about="could not be installed: no network"),
        Finding("only told", 3.0),
    ],
    {"Starlette": 56.0, "local 2026-07-28": 80.0, "local 2025-11-25": 90.0, "Peer 2025-11-25": 1000.0},
    {"here": {"mcp": "2.3.0"}},
    "a machine",
    0.5,
    "2026-11-29T12:00:00+00:00",
)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="processor time is in /proc")
@pytest.mark.anyio
async def test_every_row_is_measured_with_right_answers_and_written_for_programs(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json", str(figures)]
    with anyio.fail_after(LIMIT):
        ended = await anyio.run_process(command, cwd=section.ROOT, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    told = ended.stdout.decode()
    assert "bare Starlette" in told and "uvicorn" in told
    assert len(Figures.read(figures).findings) > len(ROWS)
    assert Figures.read(figures).table() == told.rstrip("\n")


def test_the_section_of_the_readme_tells_both_eras_in_a_line_and_what_is_missed() -> None:
    text = section.section(FIGURES)
    assert "1 of 3 floors are reached; ✗ marks the others." in text
    assert "| calls | 0.81 / 0.69 × | ≥ 0.7 × | ✗ |" in text
    assert "| memory | 12.3 MB | ≤ 25 MB | ✓ |" in text
    assert "| of a peer | not measured: could not be installed: no network | ≥ 10 × | ✗ |" in text
    assert "only told" not in text


def test_the_readme_says_what_the_figures_beside_it_say() -> None:
    figures = Figures.read(section.FIGURES)
    text = section.README.read_text()
    assert text == section.replaced(text, section.section(figures))
    assert section.PICTURE.read_text() == picture(figures.costs)
