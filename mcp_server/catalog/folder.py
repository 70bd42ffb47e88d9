"""The user's folder: which pipelines are in it, and the source of each. Reads only; nothing is run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import Invalid
from ..models import Problem, Source
from ..pipelines.options import PROGRAM, WRAPPER, kind_of
from . import names
from .uploads import MAX_FILE, MAX_SOURCE

YAML = (".yml", ".yaml")
MAX_FILES = 10_000
"""Files in the folder of one pipeline."""
_SKIPPED = frozenset({"__pycache__", "node_modules"})


@dataclass(frozen=True)
class Found:
    """A pipeline in the folder. `place` is its folder, or its YAML file; without `source`, why."""

    name: str
    place: Path
    source: Source | None = None
    problem: Problem | None = None


def scan(folder: Path) -> tuple[Found, ...]:
    """Every pipeline in the folder, sorted by name: a sub-folder, or a YAML file directly in it.

    What is broken is found too, with its problem. What is no pipeline is left out. Blocking. Raises OSError
    when the folder itself cannot be read: then nothing is known, which is not the same as no pipelines.
    """
    os.scandir(folder).close()
    found: dict[str, list[Found]] = {}
    for each in _candidates(folder):
        found.setdefault(each.name, []).append(each)
    return tuple(
        found[name][0] if len(found[name]) == 1 else _duplicate(found[name]) for name in sorted(found)
    )


def read(name: str, place: Path) -> Source:
    """The source of one pipeline. Raises `Invalid` when it is too large, OSError when it cannot be read."""
    if place.is_file():
        return Source(name=name, files={place.name: place.read_bytes()})
    files: dict[str, bytes] = {}
    others: dict[str, tuple[int, int]] = {}
    total = 0
    for path, entry in _files(place):
        content = _text(entry, place)
        if content is None:
            status = entry.stat()
            others[path] = (status.st_size, status.st_mtime_ns)
        else:
            files[path] = content
            total += len(content)
        if total > MAX_SOURCE or len(files) + len(others) > MAX_FILES:
            raise Invalid(f"its code and text exceed {MAX_SOURCE} bytes, or it has over {MAX_FILES} files")
    return Source(name=name, files=files, others=others)


def reason(error: OSError) -> str:
    """Why the system refused, without the path."""
    return (error.strerror or "no reason given").lower()


def _candidates(folder: Path) -> Iterator[Found]:
    for entry in sorted(_entries(folder), key=lambda each: each.name):
        path = Path(entry.path)
        if entry.name.startswith("_"):
            continue
        if entry.is_dir() and _claims(path):
            yield _found(_printable(entry.name), path, folder)
        elif entry.is_file() and path.suffix in YAML and _is_pipeline(path):
            yield _found(_printable(path.stem), path, folder)


def _found(name: str, place: Path, folder: Path) -> Found:
    if problem := names.fault(name):
        return Found(name, place, problem=Problem(message=problem))
    if not place.resolve().is_relative_to(folder.resolve()):
        return Found(name, place, problem=Problem(message="a link that leaves the folder is not followed"))
    try:
        return Found(name, place, read(name, place))
    except Invalid as error:
        return Found(name, place, problem=Problem(message=str(error)))
    except OSError as error:
        return Found(name, place, problem=Problem(message=f"its files cannot be read: {reason(error)}"))


def _duplicate(found: list[Found]) -> Found:
    places = " and ".join(each.place.name for each in found)
    return Found(
        found[0].name, found[0].place, problem=Problem(message=f"{places} have one name; rename one")
    )


def _claims(folder: Path) -> bool:
    """True if the folder says it is a pipeline: it has a wrapper, a DSPy program or a pipeline YAML."""
    paths = [Path(entry.path) for entry in _entries(folder) if entry.is_file()]
    telling = (path for path in paths if path.suffix in YAML or path.name == PROGRAM)
    return any(path.name == WRAPPER for path in paths) or any(map(_is_pipeline, telling))


def _is_pipeline(path: Path) -> bool:
    try:
        return path.stat().st_size <= MAX_FILE and not isinstance(
            kind_of({path.name: path.read_bytes()}), Problem
        )
    except OSError:
        return False


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in the folder, without hidden, cached and installed things; nothing if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [each for each in entries if not each.name.startswith(".") and each.name not in _SKIPPED]
    except OSError:
        return []


def _files(folder: Path, prefix: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every regular file below, by its path in POSIX form. Linked folders are not entered."""
    for entry in _entries(folder):
        path = prefix + _printable(entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), f"{path}/")
        elif entry.is_file():
            yield path, entry


def _text(entry: os.DirEntry[str], root: Path) -> bytes | None:
    """The content of a code or text file; None for one that is large, not text, or outside the folder."""
    if entry.stat().st_size > MAX_FILE:
        return None
    if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root.resolve()):
        return None
    content = Path(entry.path).read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError:
        return None
    return content


def _printable(name: str) -> str:
    """A file's name as text that can be sent, also when it is not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()
