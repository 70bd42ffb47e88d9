"""Serves a folder of Haystack pipelines as Model Context Protocol tools. What is named here is the API.

Names are imported when they are first used: a wrapper that imports its base class does not load a server.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import create_app
    from .content.blocks import Audio, Embedded, Image, Reply, ResourceLink, Text
    from .errors import ServerError
    from .pipelines.authoring import File, PipelineWrapper
    from .pipelines.confirmation import AskUser
    from .pipelines.context import Context, ProtocolError
    from .pipelines.headers import Header
    from .pipelines.published import completion, prompt, resource
    from .pipelines.questions import Answer, Form, Link, Roots, Sampling
    from .pipelines.uploads import UploadFile
    from .server import Server
    from .settings import Settings

    __version__: str

__all__ = [
    "Answer",
    "AskUser",
    "Audio",
    "Context",
    "Embedded",
    "File",
    "Form",
    "Header",
    "Image",
    "Link",
    "PipelineWrapper",
    "ProtocolError",
    "Reply",
    "ResourceLink",
    "Roots",
    "Sampling",
    "Server",
    "ServerError",
    "Settings",
    "Text",
    "UploadFile",
    "__version__",
    "completion",
    "create_app",
    "prompt",
    "resource",
]

_HOMES = MappingProxyType(
    {
        "Answer": ".pipelines.questions",
        "AskUser": ".pipelines.confirmation",
        "Audio": ".content.blocks",
        "Context": ".pipelines.context",
        "Embedded": ".content.blocks",
        "File": ".pipelines.authoring",
        "Form": ".pipelines.questions",
        "Header": ".pipelines.headers",
        "Image": ".content.blocks",
        "Link": ".pipelines.questions",
        "PipelineWrapper": ".pipelines.authoring",
        "ProtocolError": ".pipelines.context",
        "Reply": ".content.blocks",
        "ResourceLink": ".content.blocks",
        "Roots": ".pipelines.questions",
        "Sampling": ".pipelines.questions",
        "Server": ".server",
        "ServerError": ".errors",
        "Settings": ".settings",
        "Text": ".content.blocks",
        "UploadFile": ".pipelines.uploads",
        "completion": ".pipelines.published",
        "create_app": ".app",
        "prompt": ".pipelines.published",
        "resource": ".pipelines.published",
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
