"""Access tokens: signed JWTs of the authorization server, for this server (RFC 9068, RFC 8707).

A token says who calls and what for, and goes no further: pipelines never see it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import jwt
from jwt.exceptions import PyJWTError

from ..errors import Invalid
from ..models import Caller
from .denied import Denied
from .jwks import ALGORITHMS, Keys
from .oauth import PREFIX, OAuth

REFUSED = "Invalid or expired token"
LONGEST = 16 * 1024
"""Characters of a token."""
LEEWAY = 10.0
"""Seconds that clocks may differ."""
FAR = 2**40
"""Seconds since the epoch, for a token that never expires."""
NEEDED = ["exp", "iss", "aud"]
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt", "application/jwt"})
UNWANTED = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip"})
"""Headers that bring a key along, or change what a token means (RFC 7515 section 4.1)."""
NAME = re.compile(r"[A-Za-z0-9_.@|:/+-]{1,128}")
Allowed = Callable[[set[str]], frozenset[str]]
JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")


def tokens(oauth: OAuth, url: str, allowed: Allowed) -> Tokens:
    """For the keys at that address."""
    return Tokens(oauth, Keys(url), allowed)


class Tokens:
    """Knows callers by their tokens."""

    active = True

    def __init__(self, oauth: OAuth, keys: Keys, allowed: Allowed) -> None:
        """`allowed` gives what scopes let their holder do here."""
        self._oauth = oauth
        self._keys = keys
        self._allowed = allowed

    async def caller(self, credential: str, scope: Mapping[str, Any]) -> Caller | None:
        """Whose token it is; None for what is no JWT. Raises `Denied`, and `Unavailable` without keys."""
        if not JWT.fullmatch(credential):
            return None
        claims = await self._claims(credential)
        subject = claims.get("sub") or claims.get("client_id") or claims.get("azp")
        if not isinstance(subject, str) or not subject:
            raise Denied(REFUSED)
        until = min(int(claims["exp"]), FAR) + LEEWAY
        return Caller(name=PREFIX + named(subject), scopes=self._scopes(claims), expires=until)

    async def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            if len(token) > LONGEST:
                raise Denied(REFUSED)
            head = jwt.get_unverified_header(token)
            algorithm, kind = head.get("alg"), str(head.get("typ", "jwt")).lower()
            if algorithm not in ALGORITHMS or kind not in TYPES or UNWANTED & head.keys():
                raise Denied(REFUSED)
            key = await self._keys.key(head.get("kid"), algorithm)
            if key is None:
                raise Denied(REFUSED)
            return jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._oauth.audiences,
                issuer=self._oauth.issuer,
                leeway=LEEWAY,
                options={"require": NEEDED, "strict_aud": False},
            )
        except (PyJWTError, ValueError, TypeError, RecursionError):
            raise Denied(REFUSED) from None

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """What it may do here; scopes that mean nothing here are passed over."""
        given = set(words(claims.get("scope"))) | set(words(claims.get("scp")))
        ours: set[str] = set()
        for scope in given:
            word = self._oauth.scopes.get(scope, scope if scope.startswith("run:") else "")
            try:
                ours |= self._allowed({word})
            except Invalid:
                continue
        return frozenset(ours)


def words(claim: Any) -> Iterable[str]:
    """Scopes as a text with blanks, or as a list."""
    if isinstance(claim, str):
        return claim.split()
    return (
        [each for each in cast(list[Any], claim) if isinstance(each, str)] if isinstance(claim, list) else ()
    )


def named(subject: str) -> str:
    """A subject as a name; one that could forge others or break lines as its digest."""
    return (
        subject if NAME.fullmatch(subject) else hashlib.sha256(subject.encode(errors="replace")).hexdigest()
    )
