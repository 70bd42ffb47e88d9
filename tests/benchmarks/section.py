"""The section of the README about speed, written from the figures of a whole measurement."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .harness import Finding
from .picture import picture
from .report import Figures, bound, mark, value
from .requests import MODERN
from .rows.calls import FRONT_PART, PLACED
from .scaling import predictions

ROOT = Path(__file__).parents[2]
README, FIGURES, PICTURE = ROOT / "README.md", ROOT / "docs" / "speed.json", ROOT / "docs" / "speed.svg"
SCALING = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- python -m tests.benchmarks --readme -->", "<!-- end of it -->"


def write(figures: Figures) -> None:
    """Put the figures, the picture, the section and what they predict where readers find them."""
    FIGURES.write_text(figures.text())
    PICTURE.write_text(picture(figures.costs))
    README.write_text(replaced(README.read_text(), section(figures)))
    SCALING.write_text(replaced(SCALING.read_text(), predicted(figures)))


def replaced(text: str, part: str) -> str:
    """The text with this between the marks. Raises `ValueError` if they are gone."""
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"there must be {BEGIN} and {END} around what is to be replaced")
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def predicted(figures: Figures) -> str:
    """What the scaling model says for the costs that were measured."""
    front = next(each.value for each in figures.findings if each.what == FRONT_PART) or 0.0
    host = figures.costs[f"host async {MODERN}"] - front
    return f"With F = {front:.0f} µs and H = {host:.0f} µs:\n\n{predictions(front, host)}"


def section(figures: Figures) -> str:
    """The table of what has a floor, and of what the waits are without care; both eras of one thing share a
    line."""
    lines: dict[str, list[Finding]] = {}
    for each in figures.findings:
        if each.bound is not None or PLACED in each.what:
            lines.setdefault(each.what, []).append(each)
    floors = [each for each in lines.values() if each[0].bound is not None]
    reached = sum(mark(each) == "✓" for each in floors)
    table = [f"| {what} | {values(each)} | {bound(each[0])} | {mark(each)} |" for what, each in lines.items()]
    return "\n".join(
        [
            f"Measured {figures.date[:10]} on {figures.machine}{busy(figures)}. {told(reached, len(floors))}",
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


def busy(figures: Figures) -> str:
    """What else the machine did meanwhile, if it did anything."""
    if figures.load < 1:
        return ""
    return f", beside other programs (load {figures.load:.0f}), which lengthens waits and starts most"


def told(reached: int, floors: int) -> str:
    """How many floors are reached."""
    if reached == floors:
        return f"All {floors} floors are reached."
    return f"{reached} of {floors} floors are reached; ✗ marks the others."


def values(findings: Sequence[Finding]) -> str:
    """What was measured: once, or in the one era and in the other."""
    if any(each.value is None for each in findings):
        return f"not measured: {findings[0].about}"
    first, *others = findings
    if not others:
        return value(first)
    return " / ".join(f"{each.value:.3g}" for each in findings) + f" {first.unit}"
