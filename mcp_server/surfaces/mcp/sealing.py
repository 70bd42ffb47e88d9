"""What seals what clients send back (`requestState`), and the secret for it, which lasts and is shared.

Made with the first state that comes or goes: cryptography costs the process 3 MB.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import TYPE_CHECKING

from mcp.server.context import CallNext, HandlerResult
from mcp_types.methods import is_input_required

from ...errors import Unavailable
from ...store.history import LIFE, History
from ..callers import caller_of
from .eras import Request

if TYPE_CHECKING:
    from mcp.server.request_state import AESGCMRequestStateCodec, RequestStateBoundary

SIZE = 32
"""Bytes."""


class Sealed:
    """Middleware: the SDK's seal, around the requests and results that have a state."""

    def __init__(self, audience: str, codec: KeptCodec) -> None:
        """`audience` is who alone takes what is sealed here."""
        self._audience = audience
        self._codec = codec

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        if ctx.params is not None and ctx.params.get("requestState") is not None:
            return await self._boundary(ctx, call_next)
        result = await call_next(ctx)

        async def known(_: Request) -> HandlerResult:
            return result

        return await self._boundary(ctx, known) if is_input_required(result) else result

    @cached_property
    def _boundary(self) -> RequestStateBoundary:
        from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

        security = RequestStateSecurity(
            codec=self._codec, ttl=LIFE, bind_principal=lambda ctx: caller_of(ctx, "mcp").name
        )
        return RequestStateBoundary(security, default_audience=self._audience)


class KeptCodec:
    """Seals with a secret that is made when it is needed first.

    Servers on one state share that in a file, those on one database that in its table. Where neither can be
    written, it lasts as long as this server.
    """

    def __init__(self, path: Path, store: History | None) -> None:
        """`path` is the file; `store` a database that servers with other states may use."""
        self._path = path
        self._store = store
        self._shared: bytes | None = None

    async def ready(self) -> None:
        """Wait until the secret is known; to be called before sealing. A store that fails is asked again."""
        if self._store is not None and self._shared is None:
            with suppress(Unavailable):
                self._shared = await self._store.secret(self._path.name, token_bytes(SIZE))
                self.__dict__.pop("_codec", None)

    def seal(self, payload: bytes) -> str:
        """See `RequestStateCodec.seal`."""
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        """See `RequestStateCodec.unseal`."""
        return self._codec.unseal(token)

    @cached_property
    def _codec(self) -> AESGCMRequestStateCodec:
        from mcp.server.request_state import AESGCMRequestStateCodec

        return AESGCMRequestStateCodec([self._shared or kept(self._path)])


def kept(path: Path) -> bytes:
    """The secret in a file; a new one, whole from the start, if there is none."""
    secret = token_bytes(SIZE)
    draft = path.with_name(f".{token_hex(8)}")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another server was faster
            os.link(draft, path)
    with suppress(OSError):
        draft.unlink(missing_ok=True)
    with suppress(OSError):
        found = path.read_bytes()
        return found if len(found) == SIZE else secret
    return secret
