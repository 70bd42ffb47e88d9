"""Serving over HTTP: uvicorn on a socket that already listens, what it tells its user, and how it stops."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from functools import partial
from types import FrameType, MappingProxyType
from typing import cast

import anyio
import click
import uvicorn
from starlette.types import ASGIApp

from ..access import peers, token
from ..app import create_app
from ..errors import Outdated
from ..proxies import Trusted
from ..settings import Settings
from . import banner, garbage
from .connections import Connections
from .direct import Direct
from .leaving import end_within

PATIENCE = 8.0
"""Seconds to wait for pipelines that still load before the tools are printed."""
ANYWHERE = MappingProxyType({"0.0.0.0": "127.0.0.1", "::": "::1"})
"""How a server is reached on its own machine that listens on all addresses."""
SWEEP = 5
"""Ticks of 0.1 s between two looks at which connections are late."""
CLOSING = 10.0
"""Seconds that everything but the calls in flight may take to stop."""


def serve(settings: Settings, listening: socket.socket, *, as_json: bool = False) -> None:
    """Serve until a signal says stop; returns after the calls in flight ended or ran out of time.

    What it serves is told on stdout: for a person, or `as_json` in one line for a program.

    Raises `Outdated` once the database is reached and turns out to be a newer release's.
    """
    host, port = listening.getsockname()[:2]
    settings = settings.model_copy(update={"port": port})
    host = ANYWHERE.get(host, host)
    front = Front(settings, f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}", as_json)
    front.run([listening])
    gc.freeze()  # or the interpreter searches all that is left for cycles, which takes seconds
    if front.outdated:
        raise Outdated(front.outdated)


def configuration(app: ASGIApp, connections: Connections, root_path: str) -> uvicorn.Config:
    """How uvicorn serves the application: quietly, and believing no proxy."""
    return uvicorn.Config(
        app,
        root_path=root_path,
        http=cast(type[asyncio.Protocol], partial(Direct, connections)),
        loop="asyncio" if sys.platform == "win32" else "uvloop",
        ws="none",  # but `Connection` knows better
        ws_max_size=64 * 1024,  # nobody has much to say to us
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )


class Front(uvicorn.Server):
    """Uvicorn that drains first.

    uvicorn ends every event stream as soon as it is told to exit, those that carry the answer of a call
    too. So the first signal only ends the streams that listen, and whatever comes then gets 503: connections
    are still accepted, for a call in flight may ask its client, which needs one to answer. The exit comes
    when the last call is answered, or `drain_timeout` later. A second signal ends the process at once.
    """

    def __init__(self, settings: Settings, url: str, as_json: bool) -> None:
        app = create_app(settings)
        self._server = app.server
        self._close_streams = app.close_streams
        self._calls = app.calls
        is_proxy = Trusted(settings.trusted_proxies).__contains__
        self._connections = Connections(settings, is_proxy, app.server.tally.answered)
        self._url = url
        self._as_json = as_json
        self._busy = True
        self.outdated: str | None = None
        """Why it ended, if a newer release wrote the state."""
        self._findable = ExitStack()
        super().__init__(configuration(app, self._connections, settings.root_path))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        garbage.started()
        self._telling = asyncio.create_task(self._tell())
        self._checking = asyncio.create_task(self._stop_if_outdated())
        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload_keys)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop; nothing more is told. Who had all of `drain_timeout` gets no more time."""
        if not self._server.time_left:
            self.config.timeout_graceful_shutdown = 0
        self._telling.cancel()
        self._checking.cancel()
        self._findable.close()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Every 0.1 s: True once it is time to exit."""
        if counter % SWEEP == 0:
            self._connections.sweep(asyncio.get_running_loop().time())
        if self._server.stopping:
            self._close_streams()
            calls = self._connections.in_flight + self._connections.arriving + self._calls()
            self.should_exit = not (calls or self._busy) or not self._server.time_left
            self._busy = bool(calls)  # a tick more, in which the last answer leaves
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal arrived. Unlike uvicorn's own, this keeps the exit status 0."""
        if self._server.stopping:
            os._exit(128 + sig)
        self._server.stop()
        end_within(self._server.time_left + CLOSING)

    def _reload_keys(self) -> None:
        self._reloading = asyncio.create_task(self._server.access.keyring.reload())

    async def _stop_if_outdated(self) -> None:
        history = self._server.history
        await history.outdated.wait()
        self.outdated, self.should_exit = history.fault, True
        end_within(CLOSING)

    async def _tell(self) -> None:
        settings = self._server.settings
        assert settings.folder is not None  # the command line saw to it
        from . import whereabouts  # what it imports need not be there before the first answer

        self._findable.enter_context(whereabouts.told(self._url, settings.folder, settings.state_folder()))
        if not self._as_json:
            _print(banner.addresses(self._url, settings.folder))
        with anyio.move_on_after(PATIENCE):
            await self._loaded()
        catalog, fault = self._server.catalog, self._server.history.fault
        options = {name: each.options for name, each in catalog.snapshot.entries.items()}
        if self._as_json:
            _print(banner.announcement(self._url, settings, catalog.statuses(), options, fault))
            return
        _print(banner.tools(catalog.statuses()))
        _print(banner.history(settings, options, fault))
        _print(banner.clients(settings, self._url, await anyio.to_thread.run_sync(self.token)))

    def token(self) -> str | None:
        """What clients on this machine need to manage, where the system does not tell whose they are."""
        if not self._server.access.local or peers.is_told():
            return None
        return token.known(self._server.settings.state_folder())

    async def _loaded(self) -> None:
        catalog = self._server.catalog
        await catalog.ready(PATIENCE)
        while any(status.status == "loading" for status in catalog.statuses()):  # noqa: ASYNC110 - no event says so
            await anyio.sleep(0.1)


def _print(text: str) -> None:
    """On stdout; a reader that went away (`| head`) does not stop the server."""
    with suppress(OSError):
        click.echo(text)
        sys.stdout.flush()
