"""What a pipeline's files say before any of them runs: its kind and its options.

Light: the front calls this on sources in memory. Nothing is imported from a pipeline and nothing executed.

A wrapper declares an option as a class attribute of `PipelineWrapper`, written out as a plain value; a
YAML declares it under `metadata.mcp`. The hints of MCP have two spellings, `annotations` with the wire
names or one option each:

    class PipelineWrapper(BasePipelineWrapper):          metadata:
        title = "Search"                                   mcp:
        timeout = 60                                         title: Search
        read_only = True                                     timeout: 60
        annotations = {"openWorldHint": False}               read_only: true

Plain `metadata` is not ours alone: there title, description, tags, timeout, concurrency, env and the hints
are read if they fit, and ignored if not. `skip_mcp`, as Hayhooks spells `hidden`, works too.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from ..errors import Broken
from ..models import Json, Kind, Noun, Options, Problem
from .syntax import UNPARSABLE, parse, syntax_problem

if TYPE_CHECKING:
    from .composed import Composed

WRAPPER = "pipeline_wrapper.py"
PROGRAM = "program.py"
DSPY_GROUP = "dspy"
"""The group of DSPy programs that name none: what they import is large, and no other pipeline needs it."""

_HINTS: Mapping[str, str] = {
    "read_only": "readOnlyHint",
    "destructive": "destructiveHint",
    "idempotent": "idempotentHint",
    "open_world": "openWorldHint",
}
_EXPECTED: Mapping[str, str] = {
    "title": "a string",
    "description": "a string",
    "annotations": f"a mapping of {', '.join(_HINTS.values())} to true or false",
    "timeout": "a number of seconds above 0",
    "concurrency": "a whole number from 1",
    "replicas": "a whole number from 1 to 64",
    "group": "a name of up to 64 letters, digits, `_` or `-`",
    "engine": "`hosts` or `local`",
    "isolation": "`process` or `sandbox`",
    "env": "a list of names of environment variables",
    "allow_net": "a list of ports, or of `*` for every network",
    "tags": "a list of strings",
    "icons": "a list of objects with `src` (https: or data:image/), maybe `mimeType`, `sizes`, `theme`",
    "hidden": "true or false",
    "cache": "a number of seconds above 0",
    "record": "`full`, `steps`, `meta` or `none`",
    "restartable": "true or false",
    "task": "`auto`, `always` or `required`",
    "skip_mcp": "true or false",
    **dict.fromkeys(_HINTS, "true or false"),
}
_SHARED = frozenset({"title", "description", "tags", "timeout", "concurrency", "env", "annotations", *_HINTS})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMPONENTS, _MODELS, _STEPS = (
    re.compile(rb"""^(?:\xef\xbb\xbf)?(?:\{\s*)?["']?%s["']?\s*:""" % key, re.MULTILINE)
    for key in (b"components", b"models", b"steps")
)
_DSPY = re.compile(rb"^\s*(?:import|from)\s+dspy\b", re.MULTILINE)


def kind_of(files: Mapping[str, bytes]) -> tuple[Kind, str] | Problem:
    """The kind of a source and its main file, by a look at its top level; or why it is no pipeline.

    A wrapper wins over a DSPy program, and both over YAML files beside them. A YAML counts if `components` is
    one of its top-level keys, or `models` and `steps` are, even if the rest of it is broken.
    """
    if WRAPPER in files:
        return "wrapper", WRAPPER
    if _DSPY.search(files.get(PROGRAM, b"")):
        return "dspy", PROGRAM
    texts = sorted(path for path in files if "/" not in path and path.endswith((".yml", ".yaml")))
    pipelines: list[tuple[Kind, str]] = [
        (kind, path) for path in texts if (kind := _yaml_kind(files[path])) is not None
    ]
    if len(pipelines) == 1:
        return pipelines[0]
    if pipelines:
        names = ", ".join(path for _, path in pipelines)
        return Problem(message=f"holds several pipelines ({names}): keep one in each folder")
    if len(texts) == 1:
        return Problem(message="has no top-level `components`: it is not a Haystack pipeline", file=texts[0])
    return Problem(message=f"the folder has neither {WRAPPER} nor a pipeline YAML")


def _yaml_kind(content: bytes) -> Kind | None:
    if _COMPONENTS.search(content):
        return "yaml"
    return "steps" if _STEPS.search(content) and _MODELS.search(content) else None


def options_of(files: Mapping[str, bytes]) -> Options:
    """What the source declares about itself; defaults if it is no pipeline or does not say.

    Raises `Broken` with file and line, and with what was expected, for an option that does not fit, and
    for a main file that cannot be parsed.
    """
    kind = kind_of(files)
    if isinstance(kind, Problem):
        return Options.model_validate({})
    if kind[0] in ("wrapper", "dspy"):
        return _python_options(files[kind[1]], kind[1])
    return _yaml_options(files[kind[1]], kind[1])


def options_of_object(wrapper: Any, base: type[Any]) -> Options:
    """What a wrapper in memory, or its class, declares other than `base` does. Raises `Broken`."""
    said = {name: getattr(wrapper, name, None) for name in _EXPECTED}
    own = {name: value for name, value in said.items() if value != getattr(base, name, None)}
    return _checked(own, lambda _: ("", None))


def tool_of(name: str, options: Options, description: str, takes: Json, gives: Json | None) -> Json:
    """The MCP Tool of the pipeline `name`, in wire form: what it takes and gives, and what it declares."""
    tool: Json = {
        "name": name,
        "title": options.title or name.replace("_", " ").replace("-", " "),
        "description": description,
        "inputSchema": takes,
        "annotations": hints(options),
    }
    tool |= {"outputSchema": gives} if gives else {}
    return tool | ({"icons": list(options.icons)} if options.icons else {})


def hints(options: Options) -> dict[str, bool]:
    """All four hints; MCP's own defaults for those not declared (2025-11-25, `ToolAnnotations`)."""
    read_only = options.hint("readOnlyHint")
    defaults = {"readOnlyHint": read_only, "destructiveHint": not read_only}
    return {**defaults, "idempotentHint": False, "openWorldHint": True, **options.annotations}


def _python_options(content: bytes, file: str) -> Options:
    try:
        module = parse(content, file)
    except UNPARSABLE as error:
        raise Broken(syntax_problem(error, file)) from error
    values: dict[str, Any] = {} if file == WRAPPER else {"group": DSPY_GROUP}
    lines: dict[str, int] = {}
    for name, value in _attributes(module) if file == WRAPPER else _metadata(module):
        try:
            values[name], lines[name] = ast.literal_eval(value), value.lineno
        except (*UNPARSABLE, TypeError) as error:
            message = (
                f"`{name}` must be written out as {_EXPECTED[name]}: it is read without running the file"
            )
            raise Broken(Problem(message=message, file=file, line=value.lineno)) from error
    return _checked(values, lambda name: (file, lines[name]))


def _metadata(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The options in `metadata = {…}` of a DSPy program."""
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            if not any(isinstance(each, ast.Name) and each.id == "metadata" for each in statement.targets):
                continue
            for key, value in zip(statement.value.keys, statement.value.values, strict=True):
                if isinstance(key, ast.Constant) and key.value in _EXPECTED:
                    yield str(key.value), value


def _attributes(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The options among the class attributes of the last `PipelineWrapper`, in order."""
    classes = [part for part in module.body if isinstance(part, ast.ClassDef)]
    wrappers = [part for part in classes if part.name == "PipelineWrapper"]
    for statement in wrappers[-1].body if wrappers else []:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and target.id in _EXPECTED and _is_ours(target.id, value):
                yield target.id, value


def _is_ours(name: str, value: ast.expr) -> bool:
    """False for a `cache` that the wrapper keeps for itself, such as a dict."""
    return name != "cache" or isinstance(value, ast.Constant | ast.UnaryOp | ast.BinOp)


def _yaml_options(content: bytes, file: str) -> Options:
    from .composed import compose  # PyYAML only where there is a YAML

    composed = compose(content, file)
    metadata = _mapping(composed, "metadata")
    ours = _mapping(composed, "metadata", "mcp")
    for name in ours:
        if name not in _EXPECTED:
            message = f"`{name}` is no option; there are {', '.join(_EXPECTED)}"
            raise composed.broken(message, "metadata", "mcp", str(name))
    shared = {name: value for name, value in metadata.items() if name in _SHARED and _fits(name, value)}
    return _checked({**shared, **ours}, lambda name: (file, composed.line("metadata", "mcp", name)))


def _mapping(composed: Composed, *path: str) -> dict[Any, Any]:
    found: Any = composed.value
    for key in path:
        found = found.get(key) or {}
        if not isinstance(found, dict):
            raise composed.broken(f"`{key}` must be a mapping", *path)
        found = cast(dict[Any, Any], found)
    return found


def _fits(name: str, value: Any) -> bool:
    try:
        _checked({name: value}, lambda _: ("", None))
    except Broken:
        return False
    return True


def _checked(values: Mapping[str, Any], place: Callable[[str], tuple[str, int | None]]) -> Options:
    """Options from declared values; `place` gives file and line of an option. None counts as not declared."""
    for name, value in values.items():
        if value is not None and not _accepts(name, value):
            file, line = place(name)
            raise Broken(Problem(message=f"`{name}` must be {_EXPECTED[name]}", file=file, line=line))
    given = {name: value for name, value in values.items() if value is not None}
    hints = {wire: given.pop(name) for name, wire in _HINTS.items() if name in given}
    annotations = {**given.pop("annotations", {}), **hints}
    hidden = given.pop("hidden", given.pop("skip_mcp", False))
    return Options.model_validate({**given, "annotations": annotations, "hidden": hidden})


def _accepts(name: str, value: Any) -> bool:
    """True if the value has the type that was asked for, and `Options` takes it."""
    if name in _HINTS or name == "skip_mcp":
        return isinstance(value, bool)
    if name == "annotations":
        return isinstance(value, dict) and _are_hints(cast(dict[Any, Any], value))
    if name in ("env", "tags", "icons", "allow_net") and not isinstance(value, list | tuple):
        return False
    try:  # as JSON, in which every array is as good as a tuple
        checked = Options.model_validate_json(json.dumps({name: value}), strict=True)
    except (TypeError, ValueError):
        return False
    return all(map(_VARIABLE.fullmatch, checked.env)) and all(map(_is_icon, checked.icons))


def _is_icon(icon: Json) -> bool:
    """True for an icon of MCP (2025-11-25, `Icon`) whose address every client may load."""
    try:
        _Icon.model_validate_json(json.dumps(icon), strict=True)
    except ValueError:
        return False
    return True


class _Icon(Noun):
    src: str = Field(pattern=r"^(https://|data:image/)")
    mimeType: str | None = None
    sizes: tuple[str, ...] | None = None
    theme: Literal["light", "dark"] | None = None


def _are_hints(value: dict[Any, Any]) -> bool:
    return all(key in _HINTS.values() and isinstance(hint, bool) for key, hint in value.items())
