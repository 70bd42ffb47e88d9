"""Output for people: tables, text that cannot steer the terminal, progress. Plain where nobody looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from ..models import Json

if TYPE_CHECKING:
    from rich.progress import Progress

COLORS = {
    **dict.fromkeys(("running", "done", "production", "accept"), "green"),
    **dict.fromkeys(("loading", "waiting", "queued", "staging"), "yellow"),
    **dict.fromkeys(("error", "failed"), "red"),
    **dict.fromkeys(("undeployed", "cancelled", "archived", "none"), "dim"),
}
"""How a status or a stage looks."""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; columns in which no row has anything are left out.

    On a terminal it fits the width. Elsewhere a row is a line, without colour.
    """
    known = [["" if cell is None else line(str(cell)) for cell in row] for row in rows]
    used = [place for place in range(len(columns)) if any(row[place] for row in known)]
    cells = [[row[place] for place in used] for row in [[*columns], *known]]
    if sys.stdout.isatty():
        _fitted(cells)
        return
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        click.echo("  ".join(map(str.ljust, row, widths)).rstrip())


def _fitted(cells: list[list[str]]) -> None:
    """A table for a terminal; what does not fit is wrapped in its last column."""
    from rich.console import Console  # only needed when a person looks
    from rich.table import Table
    from rich.text import Text

    whole = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for place, heading in enumerate(cells[0]):
        whole.add_column(heading, no_wrap=place < len(cells[0]) - 1, overflow="fold")
    for row in cells[1:]:
        whole.add_row(*(Text(cell, style=COLORS.get(cell, "")) for cell in row))
    Console(highlight=False).print(whole)


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Print what is known, a line each; what is not known is left out."""
    known = [(key, line(str(value))) for key, value in pairs if value not in (None, "", [], {}, ())]
    width = max((len(key) for key, _ in known), default=0)
    for key, value in known:
        click.echo(f"{key:<{width}}  {click.style(value, fg=color(value))}")


def color(word: str) -> str | None:
    """The colour of a status as click names it."""
    found = COLORS.get(word)
    return "bright_black" if found == "dim" else found


def line(text: str) -> str:
    """In one line and without control characters."""
    return safe(" ".join(text.split()))


def structured(content: Json) -> str:
    """The structured content of a result as text: a lone text as it is, all else as JSON."""
    value: Any = unwrapped(content)
    return value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def unwrapped(content: Json) -> Any:
    """The value itself where structured content only wraps one."""
    return content["result"] if content.keys() == {"result"} else content


def output(text: str) -> str:
    """What a pipeline gave: as it is, but on a terminal without what could steer that."""
    return safe(text) if sys.stdout.isatty() else text


def safe(text: str) -> str:
    """Text without the control characters that steer terminals."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def ago(moment: str) -> str:
    """How long ago a time in ISO form was, in its largest unit."""
    seconds = max(0.0, time.time() - datetime.fromisoformat(moment).timestamp())
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """A time in its largest unit: `12 s`, `3 min`, `5 h`, `2 d`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class Bar:
    """Progress on stderr while something goes on; nothing where nobody looks."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._progress: Progress | None = None

    def start(self) -> None:
        """Begin to show it, or go on."""
        if not sys.stderr.isatty():
            return
        if self._progress is None:
            from rich.console import Console  # only needed when a person looks
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            parts = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24))
            self._progress = Progress(
                *parts, TimeElapsedColumn(), console=Console(stderr=True), transient=True
            )
            self._progress.add_task(self._doing, total=None)
        self._progress.start()

    def advance(self, done: float, total: float | None, message: str | None) -> None:
        """Show how far it is."""
        if self._progress is not None:
            text = line(message) if message else self._doing
            self._progress.update(
                self._progress.task_ids[0], completed=done, total=total, description=text[:60]
            )

    def stop(self) -> None:
        """Take it away."""
        if self._progress is not None:
            self._progress.stop()
