"""Whether a server may start where it is told to: reachable from elsewhere only if it knows its callers."""

from __future__ import annotations

from ..access import is_local, is_loopback
from ..errors import Unusable
from ..settings import Settings
from ..store.keys import may_hold_keys

HOW = (
    "so its callers need keys or access tokens: `mcp-server keys create NAME` makes a key, oauth_issuer "
    "names who gives tokens. --insecure-no-auth lets in everyone who reaches it"
)


def check(settings: Settings) -> None:
    """Raise `Unusable` for an address that others reach, where nobody could prove who they are.

    Also for a name in `allowed_hosts` that is none of this machine: then a proxy stands before the server.
    """
    if settings.insecure_no_auth or is_local(settings) or knows_callers(settings):
        return
    if is_loopback(settings.host):
        raise Unusable(f"allowed_hosts: other machines reach the server by these names, {HOW}")
    raise Unusable(f"host: {settings.host} can be reached from other machines, {HOW}")


def knows_callers(settings: Settings) -> bool:
    """True if there is a key that is good, or an authorization server whose tokens are."""
    if settings.oauth_issuer is not None:
        return True
    if not may_hold_keys(settings.database()):
        return False
    from ..store.key_rows import Keys  # SQLAlchemy would slow down every start

    keys = Keys(settings.database())
    try:
        return any(key.serves for key in keys.all())
    finally:
        keys.close()
