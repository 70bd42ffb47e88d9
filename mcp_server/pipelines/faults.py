"""What an author can mend: exceptions of pipeline code as problems with a file, a line and a way out."""

from __future__ import annotations

import ast
import inspect
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from types import CodeType, MappingProxyType
from typing import Any

from ..errors import Broken
from ..models import Problem
from .modules import OWN_NAME

_LONGEST = 300
"""Characters of an exception's own text in a problem."""

_DISTRIBUTIONS = MappingProxyType(
    {
        "bs4": "beautifulsoup4",
        "cv2": "opencv-python",
        "docx": "python-docx",
        "dotenv": "python-dotenv",
        "fitz": "pymupdf",
        "haystack": "haystack-ai",
        "haystack_experimental": "haystack-experimental",
        "PIL": "pillow",
        "pptx": "python-pptx",
        "sentence_transformers": "sentence-transformers",
        "sklearn": "scikit-learn",
        "yaml": "pyyaml",
    }
)
"""Where the distribution to install is called otherwise than the module."""


def broken_by(error: BaseException, root: Path, doing: str) -> Broken:
    """The problem that `error` shows, raised by the author's code in `root` while `doing` something.

    It points at the last line inside the author's files, relative to `root`. The text is that of the
    exception, shortened, without paths of this machine.
    """
    if isinstance(error, Broken):
        return Broken(_relative(error.problem, root))
    if isinstance(error, SyntaxError) and error.filename:
        problem = Problem(message=f"syntax error: {error.msg}", file=error.filename, line=error.lineno)
        return Broken(_relative(problem, root))
    file, line = _last_line(error, root)
    message = _message(_failed_import(error) or error, root, doing, file, line)
    return Broken(_relative(Problem(message=message, file=file, line=line), root))


def _failed_import(error: BaseException) -> BaseException | None:
    """The import that caused the error: Haystack tells it as the failure of a component. Best with advice."""
    below: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in below:
        below.append(cause)
        cause = cause.__cause__
    imports = [part for part in below if isinstance(part, ImportError)]
    return next((part for part in imports if "pip install" in str(part)), imports[-1] if imports else None)


def written_in(message: str, function: Callable[..., Any], parameter: str | None = None) -> Problem:
    """A problem with the source of `function`, at the line of its `parameter` or of its `def`.

    `file` is the full path; `broken_by` makes it relative.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        return Problem(message=message)
    return Problem(message=message, file=code.co_filename, line=_line(code, parameter))


def called(function: Callable[..., Any]) -> str:
    """The function's name, for a message."""
    return getattr(function, "__name__", "the function")


def _relative(problem: Problem, root: Path) -> Problem:
    """With the file relative to `root`; one outside of it is not named."""
    if problem.file is None or not Path(problem.file).is_absolute():
        return problem
    if not Path(problem.file).is_relative_to(root):
        return Problem(message=problem.message)
    return problem.model_copy(update={"file": Path(problem.file).relative_to(root).as_posix()})


def _last_line(error: BaseException, root: Path) -> tuple[str, int | None] | tuple[None, None]:
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [place for place in places if Path(place[0]).is_relative_to(root)]
    return own[-1] if own else (None, None)


def _message(error: BaseException, root: Path, doing: str, file: str | None, line: int | None) -> str:
    if isinstance(error, SystemExit):
        return f"{doing} tried to end the process: remove the call of `sys.exit`"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name, file, line)
    if isinstance(error, ImportError):
        text = re.sub(r" \([^()]*[/\\][^()]*\)$| \(unknown location\)$", "", str(error).partition("\n")[0])
        return OWN_NAME.sub("", text.replace(str(root), "."))[:_LONGEST]
    from .haystack import reason  # imports haystack, which the front process must not

    return f"{doing} raised {reason(error)}"


def _missing(module: str, file: str | None, line: int | None) -> str:
    if OWN_NAME.match(module):
        return f"there is no module `{OWN_NAME.sub('', module)}` beside the wrapper"
    top = module.partition(".")[0]
    wanted = _imported_at(file, line, top) or module
    if top == "haystack_integrations":
        integration = wanted.rpartition(".")[2].replace("_", "-")
        return f"`{wanted}` is not installed: `pip install {integration}-haystack`"
    if top == "hayhooks":
        return f"`{wanted}` has no stand-in here: import what you need from `hayhooks` or `mcp_server`"
    if top != module and top not in ("haystack_experimental", "google"):
        return f"there is no module `{module}` in the installed `{top}`"
    command = f"pip install {_DISTRIBUTIONS.get(top, top.replace('_', '-'))}"
    return f"the module `{top}` is not installed: `{command}`, or put {top}.py beside the wrapper"


def _imported_at(file: str | None, line: int | None, top: str) -> str | None:
    """The module that the import statement at this line names, if it belongs to the package `top`."""
    if file is None or line is None:
        return None
    for node in ast.walk(ast.parse(Path(file).read_bytes())):
        if isinstance(node, ast.ImportFrom | ast.Import) and node.lineno <= line <= (node.end_lineno or line):
            names = [alias.name for alias in node.names]
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            return next((name for name in modules if name.partition(".")[0] == top), None)
    return None


def _line(code: CodeType, parameter: str | None) -> int:
    try:
        tree = ast.parse(Path(code.co_filename).read_bytes())
    except (OSError, SyntaxError):
        return code.co_firstlineno
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _begins(node) == code.co_firstlineno:
            arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            return next((a.lineno for a in arguments if a.arg == parameter), node.lineno)
    return code.co_firstlineno


def _begins(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min(part.lineno for part in (node, *node.decorator_list))
