"""What `import mcp_server` gives, and what it does not cost."""

from __future__ import annotations

import subprocess
import sys

import mcp_server

HEAVY = (
    "mcp",
    "mcp_types",
    "haystack",
    "starlette",
    "sqlalchemy",
    "uvicorn",
    "docstring_parser",
    "jsonschema_rs",
)


def test_every_public_name_is_there_and_listed() -> None:
    for name in mcp_server.__all__:
        assert getattr(mcp_server, name) is not None
    assert set(mcp_server.__all__) <= set(dir(mcp_server))
    assert not hasattr(mcp_server, "no_such_name")


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert mcp_server.__version__ == version("haystack-mcp-server")


def test_what_authors_import_is_light() -> None:
    code = (
        "import sys, mcp_server; before = set(sys.modules);"
        "from mcp_server import PipelineWrapper, Context, File, completion, prompt, resource;"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), 'pydantic' in before)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.split() == ["[]", "False"]


def test_the_front_may_ask_what_a_wrapper_claims_without_haystack() -> None:
    code = (
        "import sys, pathlib; from mcp_server.pipelines import wrapper;"
        f"wrapper.claims(pathlib.Path('.')); print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.strip() == "[]"
