"""Nothing in the product runs a shell, evaluates text as code, loads objects from bytes, or alarms Bandit."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mcp_server"
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "commands", "pty"}
CALLS = {"eval", "exec", "system", "popen", "getoutput", "getstatusoutput", "unsafe_load", "full_load"}
BUILTINS = {"eval", "exec"}


def faults(tree: ast.AST) -> list[str]:
    """What is not wanted, by line."""
    found: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names) if {name.name.split(".")[0] for name in names} & MODULES:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES and not node.level:
                found.append(f"{node.lineno}: {ast.unparse(node)}")
            case ast.Call(func=ast.Name(id=name)) if name in BUILTINS:
                found.append(f"{node.lineno}: {name}")
            case ast.Call(func=ast.Attribute(value=ast.Name(id=owner), attr=name)) if (
                owner in ("os", "subprocess", "yaml", "builtins") and name in CALLS
            ):
                found.append(f"{node.lineno}: {owner}.{name}")
            case ast.keyword(arg="shell", value=ast.Constant(value=True)):
                found.append(f"{node.value.lineno}: shell=True")
            case _:
                pass
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_file_runs_no_shell_and_no_text(path: Path) -> None:
    assert faults(ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')",
        "import os; os.system('x')",
        "import pickle",
        "from marshal import loads",
        "run('x', shell=True)",
    ],
)
def test_what_is_not_wanted_is_found(text: str) -> None:
    assert len(faults(ast.parse(text))) == 1


def test_bandit_finds_nothing_grave() -> None:
    words = [
        sys.executable,
        "-m",
        "bandit",
        "--quiet",
        "--recursive",
        "--severity-level",
        "high",
        str(PACKAGE),
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout
