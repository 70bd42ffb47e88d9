"""Serves a folder of Haystack pipelines as Model Context Protocol tools. What is named here is the API.

Names are imported when they are first used: a wrapper that imports its base class does not load a server.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import create_app
    from .errors import ServerError
    from .pipelines.authoring import File, PipelineWrapper
    from .pipelines.context import Context
    from .server import Server
    from .settings import Settings

    __version__: str

__all__ = [
    "Context",
    "File",
    "PipelineWrapper",
    "Server",
    "ServerError",
    "Settings",
    "__version__",
    "create_app",
]

_HOMES = MappingProxyType(
    {
        "Context": ".pipelines.context",
        "File": ".pipelines.authoring",
        "PipelineWrapper": ".pipelines.authoring",
        "Server": ".server",
        "ServerError": ".errors",
        "Settings": ".settings",
        "create_app": ".app",
    }
)


def __getattr__(name: str) -> object:
    """PEP 562: the name from the module where it lives."""
    if name == "__version__":
        from importlib.metadata import version  # costs more than the rest of this module

        return version("haystack-mcp-server")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
