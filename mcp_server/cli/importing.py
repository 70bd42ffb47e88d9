"""How the server's imports are made: only what a server needs, built when it is needed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

from pydantic import BaseModel

DOORS = ("mcp", "mcp.server")
"""Packages of the SDK whose `__init__` imports its client and its high-level server; neither serves here."""


class Door(ModuleType):
    """A package whose modules can be imported, and whose `__init__` runs once a name of its own is asked for.

    What `lazy import` of PEP 810 will do; `importlib.util.LazyLoader` cannot, for it takes every look at a
    package's path for a use.
    """

    opening = RLock()
    opened = False

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):  # what the import system looks for, and may miss
            with Door.opening:
                if not self.opened and self.__spec__ and self.__spec__.loader:
                    self.opened = True
                    self.__spec__.loader.exec_module(self)
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


@contextmanager
def importing() -> Generator[None]:
    """Import within, at half the cost and memory.

    What is imported stays, so the collector passes over it now and ever after; pydantic builds the validators
    of a model when the first is used, and of the SDK's hundreds few ever are.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    for name in DOORS:
        _close(name)
    BaseModel.model_config["defer_build"] = True
    try:
        yield
    finally:
        del BaseModel.model_config["defer_build"]
        gc.freeze()
        if was_enabled:
            gc.enable()


def _close(name: str) -> None:
    """Put a door where the package would be, unless that is imported already."""
    spec = None if name in sys.modules else find_spec(name)
    if spec is None:
        return
    package = sys.modules[name] = module_from_spec(spec)
    package.__class__ = Door
    outer, _, own = name.rpartition(".")
    if outer:
        setattr(sys.modules[outer], own, package)
