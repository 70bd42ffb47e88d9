"""The section of the README about speed, written from the figures of a whole measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .harness import Finding
from .picture import picture
from .report import Figures, bound, mark, value

ROOT = Path(__file__).parents[2]
README, FIGURES, PICTURE = ROOT / "README.md", ROOT / "docs" / "speed.json", ROOT / "docs" / "speed.svg"
BEGIN, END = "<!-- python -m tests.benchmarks --readme -->", "<!-- end of speed -->"


def write(figures: Figures) -> None:
    """Put the figures, the picture and the section where readers find them."""
    FIGURES.write_text(figures.text())
    PICTURE.write_text(picture(figures.costs))
    README.write_text(replaced(README.read_text(), figures))


def replaced(text: str, figures: Figures) -> str:
    """The README with this section. Raises `ValueError` if the marks around the old one are gone."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"README.md needs {BEGIN} and {END} around the section")
    return f"{before}{BEGIN}\n{section(figures)}\n{END}{after}"


def section(figures: Figures) -> str:
    """The table of what has a floor; both eras of one thing share a line."""
    lines: dict[str, list[Finding]] = {}
    for each in figures.findings:
        if each.bound is not None:
            lines.setdefault(each.what, []).append(each)
    reached = sum(mark(each) == "✓" for each in lines.values())
    table = [f"| {what} | {values(each)} | {bound(each[0])} | {mark(each)} |" for what, each in lines.items()]
    return "\n".join(
        [
            f"Measured {figures.date[:10]} on {figures.machine}, load {figures.load:.1f} from others.",
            f"{reached} of {len(lines)} floors are reached.",
            "",
            "| | measured | floor | |",
            "|---|---|---|---|",
            *table,
            "",
            *(
                f"{names}: {', '.join(f'{k} {v}' for k, v in ran.items())}."
                for names, ran in figures.versions.items()
            ),
        ]
    )


def values(findings: Sequence[Finding]) -> str:
    """What was measured: once, or in the one era and in the other."""
    if any(each.value is None for each in findings):
        return f"not measured: {findings[0].about}"
    first, *others = findings
    if not others:
        return value(first)
    return " / ".join(f"{each.value:.3g}" for each in findings) + f" {first.unit}"
