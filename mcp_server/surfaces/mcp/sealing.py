"""The secret that seals what clients send back (`requestState`): kept, so that they can after a restart."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from secrets import token_bytes, token_hex

from mcp.server.request_state import AESGCMRequestStateCodec

SIZE = 32
"""Bytes."""


class KeptCodec:
    """Seals with the secret in a file, which servers on the same state share. It is made when needed.

    Where it cannot be written, it lasts as long as this server.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def seal(self, payload: bytes) -> str:
        """See `RequestStateCodec.seal`."""
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        """See `RequestStateCodec.unseal`."""
        return self._codec.unseal(token)

    @cached_property
    def _codec(self) -> AESGCMRequestStateCodec:
        return AESGCMRequestStateCodec([kept(self._path)])


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
