"""The keys that a running server knows, and whose each is. They are made by `mcp-server keys`."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio import CapacityLimiter, to_thread

from ..errors import Outdated, ServerError
from ..models import Caller
from ..store.keys import Key, may_hold_keys
from .denied import INVALID, Denied

if TYPE_CHECKING:
    from ..store.key_rows import Keys

PREFIX = "mcp"
"""How every key begins, so that people and scanners tell one from other secrets: `mcp_ID_SECRET`."""
POLL = 0.5
"""Seconds between two looks at what was changed."""
LOOK = 1.0
"""Seconds before an unknown key makes the server look again."""
PATIENCE = 20.0
"""Seconds a request waits until the keys are known for the first time."""
NAMED = "key:"
"""How the names of callers begin who have a key."""
NONE = hashlib.sha256(b"").hexdigest()
"""What a secret is compared with if there is no such key, so that this takes as long."""

log = logging.getLogger(__name__)


def new_secret() -> tuple[str, str]:
    """A secret of 256 bits, and its digest, which is all that is kept."""
    secret = secrets.token_urlsafe(32)
    return secret, digest(secret)


def digest(secret: str) -> str:
    """The SHA-256 of a secret; enough for one that nobody can guess."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Keyring:
    """An authenticator. `async with` opens it, and returns at once; then it follows what is changed.

    Until the keys were read, it counts as active if there may be any. A database that cannot be read leaves
    what was known.
    """

    def __init__(self, place: Path | str, allowed: Callable[[Collection[str]], frozenset[str]]) -> None:
        """`allowed` tells what scopes let their holder do here."""
        self._place = place
        self._allowed = allowed
        self._assumed = False
        self._known: Mapping[str, tuple[Key, Caller]] | None = None
        self.stale: list[Callable[[str], None]] = []
        """Hear the name of a caller whose key, or the secret of it, is no good any more."""
        self.gone: list[Callable[[str], None]] = []
        """Hear the name of a caller whose key is revoked, expired or deleted, or whose tokens expired."""
        self._serving: dict[str, str] = {}
        """The digests of the keys that served at the last look, by the names of their callers."""
        self._loaded = anyio.Event()
        self._looked = 0.0
        self._stamp: object = None
        self._fault = ""
        self._keys: Keys | None = None
        self._thread = CapacityLimiter(1)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Keyring:
        self._assumed = await to_thread.run_sync(may_hold_keys, self._place)
        tasks = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self._follow)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()
        if self._keys is not None:
            await self._do(self._keys.close)

    @property
    def active(self) -> bool:
        """True as soon as there is a key, also a revoked one: nothing that is taken away opens the server."""
        return self._assumed if self._known is None else bool(self._known)

    @property
    def known(self) -> object:
        """The keys as they were read last; another object once they changed, None before."""
        return self._known

    @property
    def is_known(self) -> bool:
        """False while there may be keys that were not read yet."""
        return self._known is not None or not self._assumed

    async def settled(self, within: float = PATIENCE) -> None:
        """Wait, at most `within` seconds, until it is known whether there are keys."""
        if not self.is_known:
            with anyio.move_on_after(within):
                await self._loaded.wait()

    async def caller(self, credential: str, scope: Mapping[str, Any]) -> Caller | None:
        """Whose key it is; None for what is no key of ours. Raises `Denied` for one that is no good."""
        prefix, _, rest = credential.partition("_")
        identity, _, secret = rest.partition("_")
        if prefix != PREFIX or not secret:
            return None
        await self.settled()
        if identity not in (self._known or {}):
            await self._look_again()
        key, caller = (self._known or {}).get(identity, (None, None))
        matches = hmac.compare_digest(digest(secret), key.digest if key else NONE)
        if not matches or key is None or not key.serves:
            raise Denied(INVALID)
        return caller

    def until(self, name: str) -> float:
        """When the key of the caller of that name expires, in seconds since the epoch; 0 if it is no good."""
        key, _ = (self._known or {}).get(name.removeprefix(NAMED), (None, None))
        if key is None or not key.serves:
            return 0.0
        return math.inf if key.expires is None else key.expires

    async def reload(self) -> None:
        """Read the keys now."""
        try:
            keys = self._keys = self._keys or await self._do(_open, self._place)
            stamp = await self._do(keys.stamp)
            if stamp != self._stamp:
                self._know(await self._do(keys.all))
                self._stamp = stamp
            self._fault = ""
            self._tell()
        except Outdated:
            pass  # history says so, and ends the server
        except ServerError as error:
            if str(error) != self._fault:
                self._fault = str(error)
                log.warning("The keys cannot be read: %s", error)

    def _know(self, keys: tuple[Key, ...]) -> None:
        self._known = {key.id: (key, self._made(key)) for key in keys}
        self._loaded.set()

    def _tell(self) -> None:
        """Say whose key ended since the last look."""
        before = self._serving
        known = (self._known or {}).values()
        now = self._serving = {caller.name: key.digest for key, caller in known if key.serves}
        for name in before:
            if now.get(name) != before[name]:
                told = self.stale if name in now else (*self.gone, *self.stale)
                for each in told:
                    each(name)

    def _made(self, key: Key) -> Caller:
        return Caller(
            name=NAMED + key.id,
            rate=key.per_hour,
            per_second=key.per_second,
            scopes=self._allowed(key.scopes),
        )

    async def _look_again(self) -> None:
        """A key that was made a moment ago works at once; whoever guesses keys costs one look a second."""
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            await self.reload()
        else:
            await anyio.sleep(2 * POLL)  # the keys are read again meanwhile

    async def _follow(self) -> None:
        while True:
            await self.reload()
            await anyio.sleep(POLL)

    async def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await to_thread.run_sync(partial(work, *arguments), limiter=self._thread)


def _open(place: Path | str) -> Keys:
    keys: Keys = import_module("mcp_server.store.key_rows").Keys(place)  # SQLAlchemy costs 0.1 s
    return keys
