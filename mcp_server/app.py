"""The ASGI application: the surfaces behind the guard, and the server they serve, opened with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from .errors import ServerError
from .guard import Guard
from .server import Server
from .settings import Settings, given
from .surfaces import Surface, mcp, rest, steps


def create_app(settings: Settings | None = None) -> Starlette:
    """The whole server as an ASGI application; importing and making it does no I/O.

    `app.state.server` is the `Server`; it opens when the application starts. `app.state.close_streams()`
    ends the streams that clients hold open, and is to be called as soon as the process is asked to stop:
    HTTP servers wait for open responses first. Mounted in another Starlette application, the outer one
    must enter `app.router.lifespan_context(app)` in its own lifespan, since mounting does not.
    """
    settings = settings or given()
    server = Server(settings)
    surfaces = (mcp.surface(server), rest.surface(server), steps.surface(server))
    app = Starlette(
        routes=[route for surface in surfaces for route in surface.routes],
        middleware=[guard(settings)],
        exception_handlers={
            ServerError: rest.answer_refusal,
            HTTPException: rest.answer_http_error,
            Exception: rest.answer_fault,
        },
        lifespan=partial(lifespan, server, surfaces),
    )
    app.router.redirect_slashes = False  # a redirect costs a round trip per call and may break a POST
    app.state.server = server
    app.state.close_streams = partial(close_streams, surfaces)
    return app


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
