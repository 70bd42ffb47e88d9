"""The modules of one pipeline: imported in place, under names of their own, gone when it closes.

Every load is a package with a unique name, so that two pipelines, or two generations of one, never share
a module. `from .helper import x` works by that package. `import helper` works because each module of a
pipeline has its own `__import__`, which looks beside the wrapper first: at load, and later in functions.
Only `importlib.import_module("helper")` does not: pass it `package=__package__` and a leading dot.
"""

from __future__ import annotations

import builtins
import importlib
import re
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from secrets import token_hex
from types import CodeType, ModuleType
from typing import Any

_HAYHOOKS = "hayhooks"
"""What we stand in for, to pipelines only, where the real one is not installed."""

OWN_NAME = re.compile(r"\bpipeline_\w+?_[0-9a-f]{8}\b\.?")
"""The package of a load, as it appears in messages of Python."""


class Modules(MetaPathFinder):
    """The modules of one load of the pipeline in `root`; asked by Python's import system while open."""

    def __init__(self, name: str, root: Path) -> None:
        self.package = f"pipeline_{name.replace('-', '_')}_{token_hex(4)}"
        self._root = root
        self._beside: dict[str, bool] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}

    def load(self, module: str) -> ModuleType:
        """Import a module of the pipeline by its relative name. Raises whatever its code raises."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
            self._open()
        return importlib.import_module(f"{self.package}.{module}")

    def close(self) -> None:
        """Forget every module of this load."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        for name in [name for name in sys.modules if f"{name}.".startswith(f"{self.package}.")]:
            del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a module of this pipeline lies; None for the modules of others."""
        if not fullname.startswith(f"{self.package}."):
            return None
        for folder in path or ():
            loader: Any = partial(_InPlace, names=self._builtins)
            finder = FileFinder(folder, (loader, SOURCE_SUFFIXES), (ExtensionFileLoader, EXTENSION_SUFFIXES))
            if spec := finder.find_spec(fullname):
                return spec
        return None

    def _open(self) -> None:
        """Make the package itself: its `__init__.py` if there is one, else nothing but a place."""
        init = self._root / "__init__.py"
        places = [str(self._root)]
        spec = ModuleSpec(self.package, None, is_package=True)
        if init.is_file():
            loader = _InPlace(self.package, str(init), names=self._builtins)
            found = spec_from_file_location(
                self.package, init, loader=loader, submodule_search_locations=places
            )
            spec = found or spec
        spec.submodule_search_locations = places
        module = sys.modules[self.package] = module_from_spec(spec)
        if isinstance(spec.loader, _InPlace):
            spec.loader.exec_module(module)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """`__import__` for the modules of this pipeline: what lies beside the wrapper comes first."""
        head = name.partition(".")[0]
        if level == 0 and self._is_beside(head):
            module = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist)
            return module if fromlist else sys.modules[f"{self.package}.{head}"]
        if level == 0 and head == _HAYHOOKS and find_spec(head) is None:
            stand_in = importlib.import_module(f".{_HAYHOOKS}", __package__)
            if name in stand_in.PLACES:
                return stand_in
        return builtins.__import__(name, globals, locals, fromlist, level)

    def _is_beside(self, head: str) -> bool:
        """True if the wrapper's folder has such a module; the standard library is never shadowed."""
        if head in sys.stdlib_module_names:
            return False
        if head not in self._beside:
            place = self._root / head
            module = place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()
            self._beside[head] = module or (place.is_dir() and find_spec(head) is None)
        return self._beside[head]


class _InPlace(SourceFileLoader):
    """Runs a source file as it is now.

    No bytecode is read or written: its time stamps cannot tell two edits within a second apart, and the
    folder is the author's.
    """

    def __init__(self, fullname: str, path: str, *, names: dict[str, Any]) -> None:
        super().__init__(fullname, path)
        self._names = names

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._names
        super().exec_module(module)
