"""The benchmarks run, and every answer they get is right; how fast is not asked here."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
import pytest

from .rows import ROWS

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="processor time is in /proc"
)
ROOT = Path(__file__).parents[2]
LIMIT = 600
"""Seconds: many times what it takes, for a busy machine."""


@pytest.mark.anyio
async def test_every_row_is_measured_with_right_answers_and_written_for_programs(tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "picture.svg"
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--json", str(figures)]
    with anyio.fail_after(LIMIT):
        ended = await anyio.run_process([*command, "--picture", str(picture)], cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    told = ended.stdout.decode()
    assert "bare Starlette" in told and "uvicorn" in told
    assert figures.read_text().count('"what"') >= len(ROWS)
    assert picture.read_text().startswith("<svg")
