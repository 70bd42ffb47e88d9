"""Uploaded files, checked: what a caller sent becomes a source, or is refused. Nothing is written or run."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ..errors import Broken, Invalid
from ..models import Problem, Source
from ..pipelines.options import kind_of
from ..pipelines.syntax import check_syntax

MAX_FILES = 64
MAX_FILE = 1024 * 1024
MAX_SOURCE = 8 * 1024 * 1024
MAX_YAML = 256 * 1024
"""Bytes; a YAML costs far more to parse than a wrapper."""
MAX_PATH = 200
MAX_DEPTH = 8

_ODD = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\\u0080-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]')
"""Control and direction characters, halves of characters, and what Windows reads as drive or wildcard."""
_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")
"""Names that Windows reserves in every folder."""


def received(name: str, files: Mapping[str, str | bytes]) -> Source:
    """The source in these files. Raises `Invalid` for a path or size, `Broken` for content."""
    if len(files) > MAX_FILES:
        raise Invalid(f"There are {len(files)} files; at most {MAX_FILES} are accepted.")
    for path in files:
        _check_path(path)
    _check_collisions(files)
    contents = {path: _bytes(path, content) for path, content in files.items()}
    _check_sizes(contents)
    kind = kind_of(contents)
    problem = kind if isinstance(kind, Problem) else check_syntax(contents)
    if problem:
        raise Broken(problem)
    return Source(name=name, files=contents)


def _check_path(path: str) -> None:
    """Relative, inside, visible, and the same file on every system."""
    shown = ascii(path[:60])
    size = len(path.encode("utf-8", "surrogatepass"))
    if not 0 < size <= MAX_PATH or path.count("/") >= MAX_DEPTH:
        raise Invalid(f"{shown}: a path has 1 to {MAX_PATH} bytes and at most {MAX_DEPTH} parts.")
    if path.startswith("/") or _ODD.search(path):
        raise Invalid(f"{shown}: a path is relative, with `/` between its parts and no special characters.")
    for part in path.split("/"):
        if part in ("", ".", "..") or part != part.rstrip(" .") or _DEVICE.fullmatch(part):
            raise Invalid(f"{shown}: {part[:60]!a} cannot be a part of a path.")
        if part.startswith(".") or part == "__pycache__":
            raise Invalid(f"{shown}: hidden and cached files are not accepted.")


def _check_collisions(paths: Iterable[str]) -> None:
    """No two paths may be one file where case or Unicode form does not count, and no file also a folder."""
    files: dict[str, str] = {}
    for path in paths:
        key = _key(path)
        if key in files:
            raise Invalid(f"{path!r} and {files[key]!r} are the same file on some systems; rename one.")
        files[key] = path
    for path in paths:
        for parent in PurePosixPath(path).parents:
            if (key := _key(str(parent))) in files:
                raise Invalid(f"{files[key]!r} cannot be both a file and a folder.")


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _bytes(path: str, content: str | bytes) -> bytes:
    try:
        return content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        raise Invalid(f"{path!r} is not valid text: it holds half of a surrogate pair.") from error


def _check_sizes(files: Mapping[str, bytes]) -> None:
    for path, content in files.items():
        limit = MAX_YAML if path.endswith((".yml", ".yaml")) else MAX_FILE
        if len(content) > limit:
            raise Invalid(f"{path!r} has {len(content)} bytes; at most {limit} are accepted.")
    total = sum(map(len, files.values()))
    if total > MAX_SOURCE:
        raise Invalid(f"The files have {total} bytes together; at most {MAX_SOURCE} are accepted.")
