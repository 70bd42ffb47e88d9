"""The ASGI application: the surfaces behind the guard, and the server they serve, opened with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import MappingProxyType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from .authentication import Authentication, gated
from .errors import ServerError, Unusable
from .guard import Guard
from .limiting import RateLimits
from .proxies import Forwarded, Trusted
from .server import Server
from .settings import Settings, given
from .surfaces import (
    Surface,
    docs,
    health,
    mcp,
    openai,
    programs,
    registry,
    rest,
    steps,
    tracking,
    well_known,
)
from .surfaces.rest import errors, status

SURFACES: Mapping[str, Callable[[Server], Surface]] = MappingProxyType(
    {
        "mcp": mcp.surface,
        "status": status.surface,
        "rest": rest.surface,
        "registry": registry.surface,
        "programs": programs.surface,
        "openai": openai.surface,
        "steps": steps.surface,
        "tracking": tracking.surface,
    }
)
"""Every way in, by the name that the setting `surfaces` has for it."""


OBSERVERS: Mapping[str, Callable[[Server, tuple[Surface, ...]], Surface]] = MappingProxyType(
    {"health": health.surface, "docs": docs.surface}
)
"""Those that tell of the others, each of all before it."""


class App(Starlette):
    """The whole server as an ASGI application, to be served, or to be mounted in another one."""

    server: Server
    """Takes pipelines with `register` before the application starts, and opens with it."""
    close_streams: Callable[[], None]
    """Ends the streams that clients hold open, and lets no more calls in. To be called as soon as the process
    is asked to stop: HTTP servers wait for open responses first."""

    calls: Callable[[], int]
    """How many calls are in flight that no open request shows: those that are answered on a stream."""

    def lifespan(self, outer: object = None) -> AbstractAsyncContextManager[object]:
        """What must be open while this serves. An application that mounts this one takes it over, since
        mounting does not: `Starlette(routes=[Mount("/tools", app)], lifespan=app.lifespan)`."""
        return self.router.lifespan_context(self)


def create_app(settings: Settings | None = None) -> App:
    """The whole server as an ASGI application; importing and making it does no I/O.

    Without settings they come from the environment and the files of the working directory. Raises `Unusable`
    for settings that do not fit.
    """
    settings = settings or given()
    server = Server(settings)
    names = chosen(settings)
    surfaces = tuple(SURFACES[name](server) for name in names if name in SURFACES)
    surfaces += (well_known.surface(server),)
    for name in names:
        if name in OBSERVERS:
            surfaces += (OBSERVERS[name](server, surfaces),)
    app = App(
        routes=gated(route for surface in surfaces for route in surface.routes),
        middleware=[
            *forwarded(settings),
            guard(server),
            authentication(server),
            Middleware(RateLimits, rates=server.rates),
            *(Middleware(each.express) for each in surfaces if each.express),
        ],
        exception_handlers={
            ServerError: errors.answer_refusal,
            HTTPException: errors.answer_http_error,
            ClientDisconnect: errors.answer_nobody,
            Exception: errors.answer_fault,
        },
        lifespan=partial(lifespan, server, surfaces),
    )
    app.router.redirect_slashes = False  # a redirect costs a round trip per call and may break a POST
    app.server = server
    app.close_streams = partial(close_streams, server, surfaces)
    app.calls = lambda: sum(surface.calls() for surface in surfaces)
    return app


def chosen(settings: Settings) -> tuple[str, ...]:
    """The names of the surfaces to serve, in our order. Raises `Unusable` for one that is not there."""
    known = (*SURFACES, *OBSERVERS)
    for name in settings.surfaces:
        if name not in known:
            raise Unusable(f"surfaces: there is no {name!r}; there are {', '.join(known)}")
    return tuple(name for name in known if name in settings.surfaces or not settings.surfaces)


def forwarded(settings: Settings) -> list[Middleware]:
    """What believes the listed proxies, if there are any."""
    trusted = settings.trusted_proxies
    return [Middleware(Forwarded, trusted=Trusted(trusted))] if trusted else []


def guard(server: Server) -> Middleware:
    """The guard, told who we are, and whether we are open."""
    return Middleware(
        Guard,
        settings=server.settings,
        opened=lambda: server.opened,
        answered=server.tally.answered,
        stopping=lambda: server.stopping,
    )


def authentication(server: Server) -> Middleware:
    """What finds out who calls. Whatever needs to know that comes behind it."""
    return Middleware(
        Authentication,
        access=server.access,
        denied=server.audit.denied,
        in_query=server.settings.key_in_query,
    )


@asynccontextmanager
async def lifespan(server: Server, surfaces: tuple[Surface, ...], app: Starlette) -> AsyncGenerator[None]:
    """Open the server, then the surfaces; close them in reverse."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server)
        for surface in surfaces:
            await stack.enter_async_context(surface.lifespan())
        yield


def close_streams(server: Server, surfaces: tuple[Surface, ...]) -> None:
    """Take no more calls, and end the streams that would keep a stopping server waiting."""
    server.stop()
    for surface in surfaces:
        surface.close_streams()
