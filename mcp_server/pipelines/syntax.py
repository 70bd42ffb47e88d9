"""Whether Python files can be parsed. Nothing in them is run."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from ..models import Problem

MAX_CHECKED = 512 * 1024
"""Bytes of a Python file up to which its syntax is checked here; a larger one tells when it loads."""
UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `ast.parse` raises for a file that is no Python."""


def parse(content: bytes, path: str) -> ast.Module:
    """The syntax tree of a Python file. Raises what `ast.parse` raises.

    Tried again on a `SystemError`: before 3.11.8 and 3.12.1 CPython counts the depth of two parses that
    overlap in two threads as one, and gives up on both (gh-106905).
    """
    for _ in range(5):
        try:
            return ast.parse(content, filename=path)
        except SystemError:
            continue
    return ast.parse(content, filename=path)


def check_syntax(files: Mapping[str, bytes]) -> Problem | None:
    """The first Python file that does not parse, with its line; None if all do."""
    for path in sorted(files):
        if path.endswith(".py") and len(files[path]) <= MAX_CHECKED:
            try:
                parse(files[path], path)
            except UNPARSABLE as error:
                return syntax_problem(error, path)
    return None


def syntax_problem(error: BaseException, path: str) -> Problem:
    """What to tell the author of an error of `parse`."""
    if isinstance(error, SyntaxError):
        return Problem(message=error.msg, file=path, line=error.lineno)
    return Problem(message="cannot be parsed as Python", file=path)
