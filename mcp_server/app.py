"""The ASGI application: the surfaces behind the guard, and the server they serve, opened with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from .errors import ServerError, Unusable
from .guard import Guard
from .server import Server
from .settings import Settings, given
from .surfaces import Surface, mcp, rest, steps

SURFACES: Mapping[str, Callable[[Server], Surface]] = MappingProxyType(
    {"mcp": mcp.surface, "status": rest.surface, "steps": steps.surface}
)
"""Every way in, by the name that the setting `surfaces` has for it."""


def create_app(settings: Settings | None = None) -> Starlette:
    """The whole server as an ASGI application; importing and making it does no I/O.

    `app.state.server` is the `Server`; it opens when the application starts. `app.state.close_streams()`
    ends the streams that clients hold open, and is to be called as soon as the process is asked to stop:
    HTTP servers wait for open responses first. Mounted in another Starlette application, the outer one
    must enter `app.router.lifespan_context(app)` in its own lifespan, since mounting does not. Raises
    `Unusable` for settings that do not fit.
    """
    settings = settings or given()
    server = Server(settings)
    surfaces = tuple(SURFACES[name](server) for name in chosen(settings))
    app = Starlette(
        routes=[route for surface in surfaces for route in surface.routes],
        middleware=[guard(settings)],
        exception_handlers={
            ServerError: rest.answer_refusal,
            HTTPException: rest.answer_http_error,
            ClientDisconnect: rest.answer_nobody,
            Exception: rest.answer_fault,
        },
        lifespan=partial(lifespan, server, surfaces),
    )
    app.router.redirect_slashes = False  # a redirect costs a round trip per call and may break a POST
    app.state.server = server
    app.state.close_streams = partial(close_streams, surfaces)
    return app


def chosen(settings: Settings) -> tuple[str, ...]:
    """The names of the surfaces to serve, in our order. Raises `Unusable` for one that is not there."""
    for name in settings.surfaces:
        if name not in SURFACES:
            raise Unusable(f"surfaces: there is no {name!r}; there are {', '.join(SURFACES)}")
    return tuple(name for name in SURFACES if name in settings.surfaces or not settings.surfaces)


def guard(settings: Settings) -> Middleware:
    """The guard, told who we are."""
    return Middleware(
        Guard, host=settings.host, hosts=settings.allowed_hosts, origins=settings.allowed_origins
    )


@asynccontextmanager
async def lifespan(server: Server, surfaces: tuple[Surface, ...], app: Starlette) -> AsyncGenerator[None]:
    """Open the server, then the surfaces; close them in reverse."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        for surface in surfaces:
            await stack.enter_async_context(surface.lifespan())
        yield


def close_streams(surfaces: tuple[Surface, ...]) -> None:
    """End the streams that would keep a stopping server waiting."""
    for surface in surfaces:
        surface.close_streams()
