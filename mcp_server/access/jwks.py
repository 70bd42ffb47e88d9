"""The keys of the authorization server: fetched when they are needed, and kept for a while."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import httpx2
import orjson
from anyio import to_thread
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ..errors import Unavailable

FRESH = 600.0
"""Seconds for which keys are used without another look."""
FLOOR = 30.0
"""Seconds between two looks, whatever tokens name: so forged ones cause no traffic."""
PATIENCE = 5.0
"""Seconds that the authorization server has to answer."""
LARGEST = 256 * 1024
MOST = 100
"""Bytes of its answer, and keys in it, that are read."""
WEAKEST = 2048
"""Bits that a key of RSA must have (RFC 7518 section 3.3)."""
FAMILIES: Mapping[str, frozenset[str]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA"}),
    "Ed448": frozenset({"EdDSA"}),
}
"""By the kind of a key, the algorithms it may be used with: public keys only, so no secret is ever one."""
ALGORITHMS = sorted(frozenset[str]().union(*FAMILIES.values()))

log = logging.getLogger(__name__)


class Keys:
    """The keys at one address. Concurrent questions share one look."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str | None, list[PyJWK]] = {}
        self._looked = -FLOOR
        self._found = -FRESH
        self._lock = asyncio.Lock()

    async def key(self, identity: str | None, algorithm: str) -> PyJWK | None:
        """The key that a token names, if it may be used with this algorithm; without a name, the only one.

        Raises `Unavailable` if no keys could be had so far.
        """
        if self._clock() - self._found > FRESH or not self._fitting(identity, algorithm):
            await self._look(identity, algorithm)
        found = self._fitting(identity, algorithm)
        return found[0] if len(found) == 1 else None

    def _fitting(self, identity: str | None, algorithm: str) -> list[PyJWK]:
        every = [key for keys in self._keys.values() for key in keys]
        named = every if identity is None else self._keys.get(identity, [])
        return [key for key in named if algorithm in allowed(key)]

    async def _look(self, identity: str | None, algorithm: str) -> None:
        async with self._lock:
            known = self._clock() - self._found <= FRESH and self._fitting(identity, algorithm)
            if known or self._clock() - self._looked < FLOOR:
                if not self._keys:
                    raise Unavailable("The keys of the authorization server cannot be had now; try again.")
                return
            self._looked = self._clock()
            try:
                self._keys = read(await self._fetched())
                self._found = self._clock()
            except (httpx2.HTTPError, ValueError, TimeoutError, OSError) as error:
                log.warning("The keys of the authorization server were not read: %s", type(error).__name__)
                if not self._keys:
                    raise Unavailable("Authentication service timeout") from None

    async def _fetched(self) -> bytes:
        """The document. Redirects are not followed: what it says must come from the address that was set."""
        body = bytearray()
        async with (
            asyncio.timeout(PATIENCE),
            await to_thread.run_sync(_client) as client,
            client.stream("GET", self._url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != 200:
                raise ValueError(f"status {answer.status_code}")
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > LARGEST:
                    raise ValueError("too large")
        return bytes(body)


def read(document: bytes) -> dict[str | None, list[PyJWK]]:
    """The keys in a JWKS that signatures may be checked with, by their ids. Raises `ValueError`."""
    found: Any = orjson.loads(document)
    listed: Any = cast(dict[str, Any], found).get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no keys")
    made: dict[str | None, list[PyJWK]] = {}
    for each in cast(list[Any], listed)[:MOST]:
        if isinstance(each, dict) and (key := _made(cast(dict[str, Any], each))):
            made.setdefault(key.key_id, []).append(key)
    return made


def allowed(key: PyJWK) -> frozenset[str]:
    """The algorithms that a key may be used with."""
    given: dict[str, Any] = key._jwk_data  # pyright: ignore[reportPrivateUsage]  # PyJWT 2.10 has no other way
    family = FAMILIES.get(given.get("crv") or given.get("kty", ""), frozenset[str]())
    return family & {given["alg"]} if "alg" in given else family


def _made(given: dict[str, Any]) -> PyJWK | None:
    """The key; None for a secret, for one that encrypts, for a weak one, and for what is none."""
    if given.get("kty") not in ("RSA", "EC", "OKP") or given.get("use", "sig") != "sig":
        return None
    if not isinstance(given.get("kid", ""), str):
        return None
    try:
        key = PyJWK({name: value for name, value in given.items() if name != "d"})
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    weak = isinstance(key.key, RSAPublicKey) and key.key.key_size < WEAKEST
    return None if weak else key


def _client() -> httpx2.AsyncClient:
    """Made in a thread: to read certificates takes a while."""
    return httpx2.AsyncClient(follow_redirects=False)
