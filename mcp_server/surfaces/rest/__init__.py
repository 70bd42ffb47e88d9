"""The REST surface: pipelines and everything about them as plain HTTP, in the shapes of Hayhooks' pages.

operations   a route as a value, with what OpenAPI is to say of it
errors       one shape for every error
bodies       what a request brings
status       how pipelines are doing; alone it is the slim surface
running      `POST /{name}/run`
answers      what a run gave, as JSON, text, events or a file
"""

from __future__ import annotations

from ...server import Server
from .. import Surface
from . import running, status
from .operations import Operation, routes

__all__ = ["Operation", "operations", "surface"]


def surface(server: Server) -> Surface:
    """Every route but those of the slim surface, which is `status`."""
    return Surface(routes(operations(server)))


def operations(server: Server) -> tuple[Operation, ...]:
    """Every route with its description; those with a name in front come last."""
    return (
        status.detailed(server),
        *running.operations(server),
    )
