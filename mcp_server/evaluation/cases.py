"""Golden cases: inputs with the answer that is expected, read from a dataset. Blocking; nothing is run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import orjson

from ..errors import Invalid, NotFound
from ..models import Json

GOLDEN = "golden.jsonl"
"""The dataset that a pipeline's folder may hold."""
DATASETS = "datasets"
"""The folder of the state directory for datasets of all pipelines."""
MOST = 1000
"""Cases in one dataset."""
LARGEST = 16 * 2**20
"""Bytes of one dataset."""


@dataclass(frozen=True)
class Case:
    """Arguments of a call, and what it is expected to give."""

    inputs: Json
    expected: Any


@dataclass(frozen=True)
class Dataset:
    """Cases under a name; `digest` is the SHA-256 of the file."""

    name: str
    digest: str
    cases: Sequence[Case]


def dataset(name: str, places: Iterable[Path]) -> Dataset:
    """The dataset of that name or path in one of these folders, the first that has it.

    Raises `Invalid` for a path that leads elsewhere and for lines that are no cases, `NotFound`.
    """
    path = located(name, places)
    try:
        if path.stat().st_size > LARGEST:
            raise Invalid(f"A dataset has at most {LARGEST} bytes.")
        content = path.read_bytes()
    except OSError:
        raise Invalid("The dataset cannot be read.") from None
    return Dataset(name, hashlib.sha256(content).hexdigest(), tuple(cases(content)))


def located(name: str, places: Iterable[Path]) -> Path:
    """Where the dataset is. Raises `Invalid` for a path outside of the folders, `NotFound`."""
    roots = [place.resolve() for place in places]
    try:
        found = [(root / name).resolve() for root in roots]
        inside = [path for path in found if any(path.is_relative_to(root) for root in roots)]
        if not inside:
            where = f"in the folder of the pipeline, or in `{DATASETS}` of the state directory"
            raise Invalid(f"A dataset lies {where}; name it by its path from there.")
        if files := [path for path in inside if path.is_file()]:
            return files[0]
    except (OSError, ValueError):  # too long, or with characters that no path has
        raise Invalid("This cannot be the path of a dataset.") from None
    raise NotFound(f"Dataset not found: {name[:200]}")


def cases(content: bytes) -> Iterable[Case]:
    """The cases of a JSONL file. Raises `Invalid` that names the line, and for none or too many."""
    lines = [(number, line) for number, line in enumerate(content.splitlines(), 1) if line.strip()]
    if not 0 < len(lines) <= MOST:
        raise Invalid(f"A dataset has 1 to {MOST} cases, one on each line.")
    for number, line in lines:
        try:
            value: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise Invalid(f"The dataset's line {number} is not JSON.") from None
        case = cast(Json, value) if isinstance(value, dict) else {}
        if not isinstance(case.get("inputs"), dict) or "expected" not in case:
            raise Invalid(f"The dataset's line {number} must be an object with `inputs` and `expected`.")
        yield Case(case["inputs"], case["expected"])
