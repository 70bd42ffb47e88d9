"""What a granted scope lets its holder do."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType

from ..errors import Invalid
from ..models import NAME
from ..models.runs import RUN

IMPLIED = MappingProxyType(
    {
        "read": frozenset({"read"}),
        "run": frozenset({"read", "run"}),
        "deploy": frozenset({"read", "run", "deploy"}),
        "admin": frozenset({"read", "run", "deploy", "admin"}),
    }
)
"""Whoever may deploy code can run it, and whoever runs a pipeline has to see it."""
ALL = frozenset(IMPLIED)


def granted(scopes: Collection[str]) -> frozenset[str]:
    """The scopes with all that they imply. Raises `Invalid` for a word that is no scope."""
    spelled: set[str] = set()
    for scope in scopes:
        if scope.startswith(RUN) and NAME.fullmatch(scope.removeprefix(RUN)):
            spelled.add(scope)
        elif scope in IMPLIED:
            spelled |= IMPLIED[scope]
        else:
            raise Invalid(f"There is no scope {scope[:80]!a}; there are {', '.join(IMPLIED)} and {RUN}NAME.")
    return frozenset(spelled)
