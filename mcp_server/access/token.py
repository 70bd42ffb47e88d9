"""The local token: what proves on this machine that one is the user who started the server.

It is a file in the state folder that only its user can read. The command line reads it by itself.
"""

from __future__ import annotations

import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path

PREFIX = "mcp_local_"
FILE = "token"


def known(state: Path) -> str | None:
    """The token of the server with this state; None if there is none that we may read."""
    with suppress(OSError, UnicodeDecodeError):
        text = (state / FILE).read_text(encoding="ascii").strip()
        return text if text.startswith(PREFIX) else None
    return None


def ensure(state: Path) -> str | None:
    """The token of the server with this state, made if there is none; None where no file can be written."""
    if (found := known(state)) is not None:
        return found
    half = state / f".{FILE}.{os.getpid()}"
    with suppress(OSError):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(PREFIX + secrets.token_urlsafe(32))
        half.replace(state / FILE)
    return known(state)


def fits(credential: str, state: Path) -> bool:
    """True for the token; the file is read each time, for another server may have made it anew."""
    if not credential.startswith(PREFIX):
        return False
    wanted = known(state)
    return wanted is not None and hmac.compare_digest(credential.encode(), wanted.encode())
