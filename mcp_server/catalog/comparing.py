"""Two versions side by side: sources, schemas, metrics, and which one to use. Pure functions of values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any, Literal

from ..models import Json, Manifest, Noun, Source

LONGEST = 64 * 1024
"""Characters of a source diff."""
LOWER = re.compile(
    r"(?i)(^|_)(cost|duration|errors?|failures?|latency|loss|mae|mse|ms|p50|p95|p99|perplexity|price|rmse|"
    r"seconds|time|tokens|wer)(_|$)"
)
"""Metrics that are better when they are lower, by a word of their name."""
COSMETIC = ("description", "title", "default", "examples")
"""What a schema may change without a caller's arguments or answers changing."""


class SchemaChange(Noun):
    """One field of the arguments or of the answer that is not as before."""

    where: Literal["input", "output"]
    field: str
    change: Literal["added", "removed", "changed"]
    breaks: bool
    """True if a caller that was right before may be wrong now."""
    before: Json | None = None
    after: Json | None = None


class Recommendation(Noun):
    """Which version to use, None if that is for a person to say, and why."""

    version: int | None
    reason: str


def source_diff(before: Source, after: Source) -> str:
    """A unified diff of all text files; other files are named where they differ. Cut at `LONGEST`."""
    text = "".join(_file_diffs(before, after))
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST].rpartition("\n")[0] + f"\n[cut: the whole diff has {len(text)} characters]\n"


def schema_changes(before: Manifest, after: Manifest) -> tuple[SchemaChange, ...]:
    """What changed in the arguments, then in the answer, by field."""
    return (*_changes("input", before, after), *_changes("output", before, after))


def deltas(before: Mapping[str, float], after: Mapping[str, float]) -> Mapping[str, float]:
    """How much each metric rose that both have."""
    return {name: round(after[name] - before[name], 10) for name in before if name in after}


def gained(metric: str, rise: float) -> float:
    """How much better it got: for a metric that is better when it is lower, by how much it fell."""
    return -rise if LOWER.search(metric) else rise


def recommended(
    numbers: tuple[int, int], rises: Mapping[str, float], changes: tuple[SchemaChange, ...]
) -> Recommendation:
    """Which of the versions `numbers`, given how much the metrics rose from the first to the second."""
    first, second = numbers
    better = [name for name, rise in rises.items() if gained(name, rise) > 0]
    worse = [name for name, rise in rises.items() if rise and name not in better]
    broken = ", ".join(f"`{each.field}`" for each in changes if each.breaks)
    caution = f" Callers of version {first} may break: {broken} changed." if broken else ""
    if not rises:
        why = "No metric is known for both; record some with update_version, then compare again."
        return Recommendation(version=None, reason=why + caution)
    if better and worse:
        why = f"Version {second} is better in {', '.join(better)}, version {first} in {', '.join(worse)}."
        return Recommendation(version=None, reason=why + caution)
    if better:
        return Recommendation(version=second, reason=f"It is better in {', '.join(better)}.{caution}")
    why = (
        f"It is better in {', '.join(worse)}."
        if worse
        else "No metric differs, so nothing is won by a change."
    )
    return Recommendation(version=first, reason=why)


def _file_diffs(before: Source, after: Source) -> Iterator[str]:
    for path in sorted(before.files.keys() | after.files.keys()):
        old, new = _lines(before, path), _lines(after, path)
        for line in unified_diff(old, new, f"a/{path}", f"b/{path}"):
            yield line if line.endswith("\n") else f"{line}\n"
    for path in sorted(before.others.keys() | after.others.keys()):
        if before.others.get(path) != after.others.get(path):
            yield f"The data file {path} differs.\n"


def _lines(source: Source, path: str) -> list[str]:
    return source.files.get(path, b"").decode("utf-8", "replace").splitlines(keepends=True)


def _changes(where: Literal["input", "output"], before: Manifest, after: Manifest) -> Iterator[SchemaChange]:
    old, new = (each.tool.get(f"{where}Schema", {}) for each in (before, after))
    fields: tuple[Json, Json] = (old.get("properties", {}), new.get("properties", {}))
    for field in dict.fromkeys([*fields[0], *fields[1]]):
        one, other = fields[0].get(field), fields[1].get(field)
        required = (field in old.get("required", ()), field in new.get("required", ()))
        if one != other or required[0] != required[1]:
            yield SchemaChange(
                where=where,
                field=field,
                change="added" if one is None else "removed" if other is None else "changed",
                breaks=_breaks(where, one, other, required),
                before=one,
                after=other,
            )


def _breaks(where: Literal["input", "output"], before: Any, after: Any, required: tuple[bool, bool]) -> bool:
    """Arguments may not be taken away or be asked for anew; of an answer, nothing may be taken away."""
    if before is None:
        return where == "input" and required[1]
    if after is None or _bare(before) != _bare(after):
        return True
    return required == ((False, True) if where == "input" else (True, False))


def _bare(schema: Json) -> Json:
    return {key: value for key, value in schema.items() if key not in COSMETIC}
