"""The `requirements.txt` beside a pipeline: checked against what is installed, never installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from ..errors import Broken
from ..models import Problem

FILE = "requirements.txt"


def check_requirements(root: Path) -> None:
    """Raise `Broken` for the first requirement that is not met, with every missing one in its pip command.

    Lines that only pip understands (options, paths) are not checked.
    """
    try:
        lines = (root / FILE).read_text("utf-8-sig").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError) as error:
        raise Broken(Problem(message="cannot be read as UTF-8 text", file=FILE)) from error
    wanted = [(number, _requirement(line)) for number, line in enumerate(lines, 1)]
    unmet = [
        (number, requirement) for number, requirement in wanted if requirement and not _is_met(requirement)
    ]
    if unmet:
        command = " ".join(f'"{requirement}"' for _, requirement in unmet)
        number, first = unmet[0]
        raise Broken(Problem(message=f"{_state(first)}: `pip install {command}`", file=FILE, line=number))


def _requirement(line: str) -> Requirement | None:
    text = line.partition(" #")[0].partition(" --")[0].strip().removesuffix("\\").strip()
    if not text or text.startswith(("#", "-", ".", "/")):
        return None
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    applies = requirement.marker is None or requirement.marker.evaluate()
    requirement.marker = None
    return requirement if applies else None


def _is_met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def _state(requirement: Requirement) -> str:
    try:
        return f"{requirement.name} {version(requirement.name)} is installed, {requirement} is required"
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
