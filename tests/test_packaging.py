"""The wheel: what is in it, and that it works where the checkout is not."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions, requires
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

PARTS = {
    "cryptography": "pyjwt",
    "jinja2": "haystack-ai",
    "mcp-types": "mcp",
    "networkx": "haystack-ai",
    "pydantic-core": "pydantic",
}
"""What we import that comes with a dependency and moves with it."""
BUILT = "mcp_server/telemetry/built.json"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))))


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = {path for path in (ROOT / "mcp_server").rglob("*") if path.is_file()}
    names.discard(BUILT)  # made while it is built, in a checkout
    assert names == {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert "mcp_server/py.typed" in names


def test_the_wheel_carries_its_licence_and_both_commands(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        commands = archive.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "mcp-server = mcp_server.cli:main" in commands
    assert "haystack-mcp-server = mcp_server.cli:main" in commands


def test_the_wheel_of_a_checkout_tells_its_commit(wheel: Path) -> None:
    asked = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=30)
    with ZipFile(wheel) as archive:
        if head.returncode:  # not a checkout
            assert BUILT not in archive.namelist()
        else:
            assert json.loads(archive.read(BUILT))["git_commit"] == head.stdout.strip()


@pytest.mark.shows("an API key")  # the README does, as an example
def test_an_installed_wheel_says_its_version(wheel: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", tmp_path, wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=60)
    version = subprocess.run(
        [sys.executable, "-m", "mcp_server", "--version"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert version.stdout == f"mcp-server {PROJECT['version']}\n"


def test_whatever_is_imported_is_a_dependency() -> None:
    extras = PROJECT["optional-dependencies"]
    optional = names([*extras["otel"], *extras["dspy"]])
    known = {"haystack-mcp-server", *names(PROJECT["dependencies"]), *optional, *PARTS}
    provided = packages_distributions()
    unknown = {
        module
        for path in (ROOT / "mcp_server").rglob("*.py")
        for module in imported(path)
        if module not in {*sys.stdlib_module_names, "mcp_server"}
        and not known & names(provided.get(module, []))
    }
    assert unknown == set()


@pytest.mark.parametrize(("part", "whole"), PARTS.items())
def test_a_part_really_comes_with_its_whole(part: str, whole: str) -> None:
    assert part in names(requires(whole) or [])


def names(requirements: Iterable[str]) -> set[str]:
    """The normalized names of distributions, without versions and markers."""
    found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in found if name}


def imported(path: Path) -> set[str]:
    """The top-level modules that a file imports by an absolute import."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            modules.add(node.module)
    return {module.partition(".")[0] for module in modules}
