"""Indexes the docstrings of the standard library; `python_docs` searches the same store.

Both live in one process, so a store with the same `index` is the same data. It is in memory only: `setup`
fills it whenever the process starts. Pipelines load in the order of their names, so this one comes first.
Source files are parsed, never imported; of modules written in C, which have none, the loaded ones are read.
"""

import ast
import inspect
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

from haystack import Document, Pipeline, component
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy

from mcp_server import PipelineWrapper as BasePipelineWrapper

# What the store takes for a word: letters and digits, so `os.path` is two, without common endings: line(s),
# pars(e|ed|ing), cop(y|ies). The group is the word. `python_docs` must use the same.
WORD = r"([a-z0-9]+?)(?:(?<=[a-z0-9]{4})(?:ing|ed)|(?<=[a-z0-9]{3})(?:ies|es|e|y|(?<!s)s))?(?![a-z0-9])"

LEFT_OUT = {
    "distutils",
    "encodings",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "test",
    "tkinter",
    "turtle",
    "turtledemo",
}
PUBLIC_NAMES = {"posixpath": "os.path", "_pyio": "io", "_pydatetime": "datetime", "_pydecimal": "decimal"}
COMPILED = ("builtins", "itertools", "math", "os", "sys", "time")  # wholly or partly in C
COMMON = 15  # docstrings that use a word before it is looked for inside names


@dataclass
class Report:
    """What was indexed."""

    modules: int
    documents: int
    documents_in_index: int
    seconds: float


@component
class Docstrings:
    """Finds the public functions and classes of modules and packages, one document each."""

    @component.output_types(documents=list[Document])
    def run(self, modules: list[str]) -> dict[str, list[Document]]:
        found = [entry for module in modules for entry in (*parsed(module), *compiled(module))]
        words = Counter(word for _, text in found for word in set(re.findall("[a-z]{3,}", text.lower())))
        common = {word for word, count in words.items() if count >= COMMON}
        return {"documents": [document(meta, text, common) for meta, text in found]}


class PipelineWrapper(BasePipelineWrapper):
    title = "Index Python docs"
    destructive = False
    idempotent = True
    open_world = False

    def setup(self) -> None:
        self.store = InMemoryDocumentStore(
            index="python_docs", bm25_tokenization_regex=WORD, bm25_algorithm="BM25Plus"
        )
        self.pipeline = Pipeline()
        self.pipeline.add_component("docstrings", Docstrings())
        self.pipeline.add_component("writer", DocumentWriter(self.store, policy=DuplicatePolicy.OVERWRITE))
        self.pipeline.connect("docstrings.documents", "writer.documents")
        self.run_api(standard_library())

    def run_api(self, modules: list[str]) -> Report:
        """Index the docstrings of modules or packages, so that `python_docs` finds them.

        The standard library is indexed already. Indexing a module again replaces what was known of it.

        Args:
            modules: Names of installed modules or packages, such as `json` or `haystack`.
        """
        if unknown := [module for module in modules if module not in COMPILED and not any(sources(module))]:
            raise ValueError(f"no Python source found for {', '.join(unknown)}: is it installed?")
        start = time.perf_counter()
        written = self.pipeline.run({"docstrings": {"modules": modules}})["writer"]["documents_written"]
        seconds = round(time.perf_counter() - start, 2)
        return Report(len(modules), written, self.store.count_documents(), seconds)


def standard_library() -> list[str]:
    """The public modules, and the private ones that stand for C code."""
    public = (name for name in sys.stdlib_module_names if name[0] != "_" or name in PUBLIC_NAMES)
    return sorted(
        name for name in public if name not in LEFT_OUT and (name in COMPILED or any(sources(name)))
    )


def sources(module: str) -> Iterator[tuple[str, Path]]:
    """Public names and files of a module, or of all modules of a package."""
    spec = PathFinder.find_spec(module)
    if spec is None or not (spec.origin or "").endswith(".py"):
        return
    for folder in spec.submodule_search_locations or ():
        for file in sorted(Path(folder).rglob("*.py")):
            inner = [part for part in file.relative_to(folder).with_suffix("").parts if part != "__init__"]
            if not any(part.startswith(("_", "test")) for part in inner):
                yield ".".join([module, *inner]), file
    if not spec.submodule_search_locations:
        yield PUBLIC_NAMES.get(module, module), Path(spec.origin)


def parsed(package: str) -> Iterator[tuple[dict[str, str], str]]:
    """What is known of each documented function and class in source files: meta data and docstring."""
    for module, file in sources(package):
        for name, node in definitions(ast.parse(file.read_bytes()).body, module):
            if text := ast.get_docstring(node):
                signature = "" if isinstance(node, ast.ClassDef) else f"({ast.unparse(node.args)})"
                yield entry(name, module, signature, text)


def compiled(module: str) -> Iterator[tuple[dict[str, str], str]]:
    """The same of functions, classes and methods that are written in C."""
    if module not in COMPILED:
        return
    for name, value in inspect.getmembers(import_module(module)):
        members = inspect.getmembers(value, inspect.ismethoddescriptor) if inspect.isclass(value) else []
        for path, each in [(name, value), *((f"{name}.{inner}", each) for inner, each in members)]:
            text = inspect.getdoc(each)
            if text and "_" not in (name[0], path.rpartition(".")[2][0]) and not hasattr(each, "__code__"):
                signature = getattr(each, "__text_signature__", None) or ""
                yield entry(f"{module}.{path}".removeprefix("builtins."), module, signature, text)


def entry(name: str, module: str, signature: str, text: str) -> tuple[dict[str, str], str]:
    summary = " ".join(text.partition("\n\n")[0].split())
    return {"name": name, "module": module, "signature": signature, "summary": summary}, text


def definitions(body: Iterable[ast.AST], scope: str) -> Iterator[tuple[str, ast.AST]]:
    """Public functions, classes and methods, also those defined under a condition."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            yield from definitions(ast.iter_child_nodes(node), scope)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
            yield f"{scope}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node.body, f"{scope}.{node.name}")


def document(meta: dict[str, str], text: str, common: set[str]) -> Document:
    """The docstring with the words of the name in front; those of its last part count twice."""
    last = meta["name"].rpartition(".")[2]
    words = [*name_words(meta["name"], common), *name_words(last, common)]
    return Document(id=meta["name"], content=f"{' '.join(words)}\n{text[:1500]}", meta=meta)


def name_words(name: str, common: set[str]) -> Iterator[str]:
    """The words in a name: `HTTPServer`, `copy_file`, and `copytree` as two common words written together."""
    for part in re.findall("[a-z]+|[0-9]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower()):
        yield part
        for end in range(3, len(part) - 2):
            if {part[:end], part[end:]} <= common:
                yield from (part[:end], part[end:])
