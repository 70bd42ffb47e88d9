"""The shape of the code holds: floors, sizes, names, and what the serving process must not have imported."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import anyio
import pytest
from clients import START_LIMIT, address, command
from mcp import Client

PACKAGE = Path(__file__).parents[1] / "mcp_server"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = [
    {"errors", "models", "settings", "content"},
    {"pipelines", "store", "clients", "lint"},
    {"engines", "access", "limits", "telemetry"},
    {"catalog", "runs", "artifacts", "stepwise", "tracking", "webhooks", "evaluation"},
    {"server"},
    {"surfaces"},
    {"guard", "bodies", "cors", "proxies", "authentication", "limiting"},
    {"app"},
    {"cli"},
    {"__main__"},
]
"""Bottom up, as the design draws them. `mcp_server/__init__.py` is the door for users, not a floor."""

PROTOCOL = {"mcp", "mcp_types", "sse_starlette", "starlette", "uvicorn"}
"""Libraries that only speak to clients: nothing below the surfaces knows them, hosts never import them."""

LONGEST_FILE = 300
LONGEST_FUNCTION = 50
EXCUSE = "Longer than 300 lines because"
"""A file over the limit gives its reason in its docstring, in these words."""

OF_PIPELINES = {
    "docstring_parser",
    "haystack",
    "jinja2",
    "networkx",
    "numpy",
    "openai",
    "pandas",
    "posthog",
    "torch",
}
"""What pipelines need: hosts import it, the process that serves never does."""

OF_LATER = {
    "alembic",
    "cryptography",
    "httpx",
    "httpx2",
    "jsonschema",
    "jsonschema_rs",
    "jwt",
    "mcp.client",
    "mcp.server.mcpserver",
    "platformdirs",
    "psycopg",
    "rich",
    "sqlalchemy",
    "sqlalchemy.dialects.postgresql",
    "websockets",
    "yaml",
}
"""What the process that serves imports when it is first needed, if ever: not before it answers.

watchfiles is missing here because uvicorn imports it, and opentelemetry because the MCP SDK does.
"""

OF_ALL = {"jsonschema_rs", "platformdirs", "sqlalchemy"}
"""What of that every server needs sooner or later; the rest only one that is asked for it."""

SERVE = """
import atexit, sys
atexit.register(lambda: sys.stderr.write("modules: " + " ".join(sys.modules)))
from mcp_server.cli import main
main()
"""
"""The program, telling at its end what it has imported."""

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "service"}


def test_imports_point_down() -> None:
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    wrong = [
        f"{importer} imports {imported}"
        for importer, imported in _edges()
        if _part(importer) != "__init__" and floor[_part(importer)] < floor.get(_part(imported), len(FLOORS))
    ]
    assert wrong == []


def test_every_part_stands_on_a_floor() -> None:
    known = set().union(*FLOORS) | {"__init__"}
    assert {_part(_module(path)) for path in FILES} <= known


def test_no_modules_import_each_other_in_a_ring() -> None:
    graph = TopologicalSorter[str]()
    for importer, imported in _edges(at_import=True):
        graph.add(importer, imported)
    graph.prepare()  # raises CycleError, which names the ring


def test_nothing_below_the_surfaces_knows_the_protocol_libraries() -> None:
    below = set().union(*FLOORS[:5])
    wrong = [
        f"{_module(path)} imports {name}"
        for path in FILES
        if _part(_module(path)) in below
        for name in _foreign(path)
        if name.split(".")[0] in PROTOCOL
    ]
    assert wrong == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_short_and_says_what_it_owns(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    owns = ast.get_docstring(ast.parse(text)) or ""
    assert owns or not text.strip(), "the first line says what the file owns"
    assert len(text.splitlines()) <= LONGEST_FILE or EXCUSE in owns
    assert path.stem not in VAGUE and path.parent.name not in VAGUE


def test_functions_are_short() -> None:
    long = [
        f"{_module(path)}.{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in FILES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


def test_what_answers_a_client_is_light_to_import() -> None:
    code = """
import sys
from mcp_server.cli.importing import importing
with importing():
    import mcp_server.cli.http, mcp_server.cli.stdio
print(*sys.modules)
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    modules = set(shown.stdout.split())
    assert (_tops(modules) | modules) & (OF_PIPELINES | OF_LATER) == set()


def test_a_package_of_the_sdk_is_whole_once_a_name_of_it_is_asked_for() -> None:
    code = """
import sys
from mcp_server.cli.importing import importing
with importing():
    import mcp.server.lowlevel
before = mcp.server.lowlevel
print("mcp.client" in sys.modules, "mcp.server.mcpserver" in sys.modules)
from mcp import Client
print(Client.__module__, mcp.server.MCPServer.__module__, mcp.server.lowlevel is before)
print(hasattr(mcp, "nothing"), hasattr(mcp.server, "nothing"))
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    whole = ["mcp.client.client", "mcp.server.mcpserver.server", "True"]
    assert shown.stdout.split() == ["False", "False", *whole, "False", "False"]


@pytest.mark.anyio
async def test_the_process_that_serves_never_imports_what_pipelines_need(tmp_path: Path) -> None:
    folder, state = tmp_path / "pipelines", tmp_path / "state"
    (folder / "greet").mkdir(parents=True)
    (folder / "greet" / "pipeline_wrapper.py").write_text(
        "import haystack\n"
        "from mcp_server import PipelineWrapper as Base\n"
        "class PipelineWrapper(Base):\n"
        "    def run_api(self, name: str) -> str:\n"
        "        return haystack.Document(content=name).content\n"
    )
    arguments = command(folder, state, "--port", "0")[3:]  # without `python -m mcp_server`
    process = await create_subprocess_exec(sys.executable, "-c", SERVE, *arguments, stdout=PIPE, stderr=PIPE)
    try:
        with anyio.fail_after(START_LIMIT):
            url = await address(process, tmp_path / "log")
            async with Client(f"{url}/mcp") as client:
                answer = await client.call_tool("greet", {"name": "Ada"})
            process.send_signal(signal.SIGTERM)
            _, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert answer.structured_content == {"result": "Ada"}
    assert process.returncode == 0
    modules = told.decode().partition("modules: ")[2].split()
    assert "mcp_server.app" in modules
    assert (_tops(modules) | set(modules)) & (OF_PIPELINES | OF_LATER) <= OF_ALL


def _tops(modules: Iterable[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _module(path: Path) -> str:
    """`surfaces.mcp.changes` for its file, `surfaces.mcp` for a folder's `__init__.py`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _part(module: str) -> str:
    return module.split(".")[0]


def _edges(*, at_import: bool = False) -> Iterator[tuple[str, str]]:
    """(importer, imported) for every import between our modules.

    `at_import` leaves out those for type checking and those inside functions: a family may name and load
    its members so, which in turn import its contract.
    """
    modules = {_module(path) for path in FILES}
    for path in FILES:
        importer = _module(path)
        for base, names in _imports(path, _tree(path).body if at_import else ast.walk(_tree(path))):
            for name in names:
                inner = ".".join(filter(None, [base, name]))
                imported = inner if inner in modules else base or "__init__"
                if imported != importer:
                    yield importer, imported


def _imports(path: Path, nodes: Iterable[ast.AST]) -> Iterator[tuple[str, list[str]]]:
    """(module inside our package, names taken from it) for every import of ours, relative or absolute."""
    folder = path.parent.relative_to(PACKAGE).parts
    for node in nodes:
        if not isinstance(node, ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names]
        if node.level:
            above = folder[: len(folder) - node.level + 1]
            yield ".".join([*above, *filter(None, [node.module])]), names
        elif (node.module or "").split(".")[0] == PACKAGE.name:
            yield ".".join((node.module or "").split(".")[1:]), names


def _foreign(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module
