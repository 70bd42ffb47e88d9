"""A Haystack pipeline as a Mermaid diagram: text, made here, where Haystack's own way asks a web service."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .uris import Template

ADDRESS = Template("pipeline://{name}/diagram")
"""Where the diagram of a pipeline is read."""
MERMAID = "text/vnd.mermaid"
STYLE = "{}"
"""Mermaid's settings: its own defaults."""


def has_diagram(pipeline: Any) -> bool:
    """True for what Haystack can draw: its pipelines, not its agents."""
    return hasattr(pipeline, "graph") and hasattr(pipeline, "draw")


def diagram(pipeline: Any) -> str:
    """The components, their connections, and what goes in and out."""
    module: Any = import_module("haystack.core.pipeline.draw")  # heavy: only hosts have it
    text: str = module._to_mermaid_text(pipeline.graph.copy(), STYLE)  # no public way stays offline
    return text.strip() + "\n"
