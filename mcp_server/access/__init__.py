"""Who calls, and what they may do.

__init__   Access: from a credential, or from none, to a caller
scopes     what a granted scope lets its holder do
sight      what a caller may see
table      which scope each management tool and each route needs
keyring    the API keys
held       what callers with a key or token have open
token      what proves to be the server's own user
peers      which user of this machine is at the other end of a connection
attempts   how often a peer's credentials were no good
oauth      what is told of the authorization server whose tokens count
tokens     access tokens: whose they are, and what they are good for
jwks       the keys that tokens are signed with
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib import import_module
from ipaddress import ip_address
from typing import Any, Protocol

from anyio import to_thread

from ..models import Caller
from ..settings import Settings
from . import token
from .attempts import Attempts
from .denied import INVALID, Denied
from .held import Held
from .keyring import NAMED, PATIENCE, Keyring
from .oauth import oauth_of
from .peers import same_user
from .scopes import ALL, granted

__all__ = ["NOBODY", "Access", "Authenticator", "Denied"]

Scope = Mapping[str, Any]
"""An ASGI scope of type `http` or `websocket`."""

NOBODY = Caller(name="nobody", scopes=frozenset())
"""Who gives no credential where one is needed."""
BRIEF = 2.0
"""Seconds that the server's own user waits until the keys are known."""
PROXIED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-real-ip"})
"""Headers by which a proxy says that the request is another's."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class Authenticator(Protocol):
    """Knows one kind of credentials."""

    @property
    def active(self) -> bool:
        """True as soon as there is anybody it could know: from then on everyone needs a credential."""
        ...

    async def caller(self, credential: str, scope: Scope) -> Caller | None:
        """Whose credential it is, with the scopes that `Access.allowed` gives; None for another kind.

        The credential is what came after `Bearer` or `ApiKey`, or in `X-API-Key`. Raises `Denied` for one of
        its own kind that is wrong, expired or revoked.
        """
        ...


class Access:
    """Tells who calls. `async with` opens it. Appending to `authenticators` is all it takes to know more."""

    def __init__(self, settings: Settings) -> None:
        self.local = is_local(settings)
        """True if only programs on this machine are meant to reach the server."""
        deploys = settings.allow_deploy
        self._without = frozenset(() if deploys or (self.local and deploys is None) else {"deploy"})
        self._insecure = settings.insecure_no_auth
        self._state = settings.state_folder
        self.owner = Caller(scopes=ALL - {"deploy"} if deploys is False else ALL)
        """Whoever started the server: its own user on this machine, or the program on stdin."""
        self._anyone = Caller(scopes=granted({"run"}))
        self._stranger = Caller(scopes=granted({"deploy" if deploys else "run"}))
        self.keyring = Keyring(settings.database(), self.allowed)
        self.held = Held(self.keyring.gone)
        self.keyring.stale.append(self.held.end)
        self.authenticators: list[Authenticator] = [self.keyring]
        self.oauth = oauth_of(settings)
        if self.oauth is not None:  # what it imports costs more than all the rest
            known = import_module(".tokens", __package__)
            self.authenticators.append(known.tokens(self.oauth, settings.oauth_jwks_url, self.allowed))
        self.attempts = Attempts()

    async def __aenter__(self) -> Access:
        await to_thread.run_sync(token.ensure, self._state())
        await self.keyring.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.keyring.__aexit__(*error)

    @property
    def required(self) -> bool:
        """True if a call needs a credential."""
        return not (self.local or self._insecure) or any(each.active for each in self.authenticators)

    def judging(self) -> object:
        """What callers are judged by who have no access token: another object whenever that changes, None as
        long as it is not known."""
        return self.keyring.known

    def until(self, caller: Caller) -> float:
        """When a caller's key ends, in seconds since the epoch: never, if it needs none or its key does not
        expire; 0 for a key that is no good any more, and for other credentials."""
        if caller.name == self.owner.name:
            return math.inf
        return self.keyring.until(caller.name) if caller.name.startswith(NAMED) else 0.0

    def allowed(self, scopes: Collection[str]) -> frozenset[str]:
        """What these scopes let their holder do here. Raises `Invalid` for a word that is no scope."""
        return granted(scopes) - self._without

    async def caller(self, credential: str | None, scope: Scope) -> Caller:
        """Who calls; `NOBODY` without a credential where one is needed.

        A credential is ignored where none is needed. Raises `Denied` for one that nobody knows.
        """
        if not self.keyring.is_known:
            owns = self.local and is_near(scope) and is_owners(scope)
            await self.keyring.settled(BRIEF if owns else PATIENCE)
            if owns and not self.keyring.is_known:
                return self.owner  # who could read the token, too
        if credential is not None and is_near(scope) and token.fits(credential, self._state()):
            return self.owner
        if self.required:
            return NOBODY if credential is None else await self._known(credential, scope)
        if not self.local:
            return self._stranger
        if not is_near(scope):
            return NOBODY
        return self.owner if is_owners(scope) else self._anyone

    async def _known(self, credential: str, scope: Scope) -> Caller:
        for each in self.authenticators:
            if caller := await each.caller(credential, scope):
                return caller
        raise Denied(INVALID)


def is_local(settings: Settings) -> bool:
    """True if the server listens to this machine only, and answers to no name of another."""
    names = {name.lower().rpartition(":")[0] or name.lower() for name in settings.allowed_hosts}
    return is_loopback(settings.host) and names <= LOOPBACK


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """True for an address or name of this machine that no other can reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() in LOOPBACK


def is_near(scope: Scope) -> bool:
    """True if the request comes from this machine, as far as the connection tells."""
    client = scope.get("client")
    return client is None or is_loopback(client[0])


def is_owners(scope: Scope) -> bool:
    """True if a process of our own user made the connection, and for nobody else."""
    state: dict[str, Any] = scope.get("state", {})
    connection: dict[str, bool] = state.get("connection", {})  # the HTTP server's, as long as it lasts
    if "owner" not in connection:
        client, server = scope.get("client"), scope.get("server")
        connection["owner"] = client is not None and server is not None and same_user(client, server)
    return connection["owner"] and PROXIED.isdisjoint(dict(scope["headers"]))
