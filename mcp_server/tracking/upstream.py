"""Requests to the MLflow server, behind a circuit breaker. The HTTP client is made with the first one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable
from urllib.parse import urlsplit, urlunsplit

import httpx2

from ..errors import Late, Unavailable, Unreachable
from ..limits.breaker import Breaker

FAILURES, PAUSE = 5, 5.0
"""Failures in a row after which it is left alone, and for how many seconds at first."""
CONNECT = 5.0
"""Seconds it may take to be reached."""
GATEWAY = frozenset({502, 503, 504})
"""Answers that say that it does not work."""
RESTING = "The MLflow server does not work at present; try again later."

Headers = Iterable[tuple[bytes, bytes]]


class Upstream:
    """One server. `url` may carry the user and password it wants; callers' credentials never reach it."""

    def __init__(self, url: str, timeout: float) -> None:
        """`timeout` is how many seconds it may be silent, within an answer too."""
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit(parts._replace(netloc=host)).rstrip("/")
        """Its address without credentials."""
        self.breaker = Breaker(FAILURES, PAUSE)
        self._auth = (parts.username, parts.password or "") if parts.username else None
        self._timeout = timeout
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Upstream:
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def send(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        content: AsyncIterable[bytes] | bytes | None = None,
    ) -> httpx2.Response:
        """Ask it; the answer's body has yet to be read, and the answer to be closed.

        Redirects are not followed. Raises `Unreachable`, `Late`, and `Unavailable` while the breaker is open.
        """
        if not self.breaker.begin(trial := object()):
            raise Unavailable(RESTING)
        try:
            answer = await self._sent(method, path, headers, content)
        except asyncio.CancelledError:
            self.breaker.told_nothing(trial)
            raise
        except (Late, Unreachable) as error:
            self.breaker.failed(trial, str(error))
            raise
        if answer.status_code in GATEWAY:
            self.breaker.failed(trial, f"status {answer.status_code}")
        else:
            self.breaker.reset()
        return answer

    async def look(self, path: str) -> httpx2.Response:
        """Ask for a monitor: as `send`, but however often it fails, the breaker does not count it."""
        if self.breaker.seconds:
            raise Unavailable(RESTING)
        return await self._sent("GET", path)

    async def read(self, answer: httpx2.Response) -> bytes:
        """The whole body of an answer, which is closed then. Raises `Unreachable` and `Late`."""
        try:
            return await answer.aread()
        except httpx2.TimeoutException:
            raise Late(f"MLflow server request timeout after {self._timeout:g}s") from None
        except httpx2.TransportError:
            raise Unreachable("Failed to connect to MLflow server") from None
        finally:
            await answer.aclose()

    async def _sent(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        content: AsyncIterable[bytes] | bytes | None = None,
    ) -> httpx2.Response:
        if self._client is None:
            limits = httpx2.Timeout(self._timeout, connect=CONNECT)
            self._client = httpx2.AsyncClient(timeout=limits, follow_redirects=False, trust_env=False)
        try:
            asked = self._client.build_request(method, self.url + path, headers=[*headers], content=content)
            return await self._client.send(asked, stream=True, auth=self._auth)
        except httpx2.TimeoutException:
            raise Late(f"MLflow server request timeout after {self._timeout:g}s") from None
        except (httpx2.TransportError, httpx2.InvalidURL):
            raise Unreachable("Failed to connect to MLflow server") from None
