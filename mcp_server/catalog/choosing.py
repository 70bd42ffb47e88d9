"""Which version a call goes to: the one it names; else a share to staging, the others to production."""

from __future__ import annotations

import hashlib
import random

from ..errors import Invalid, NotFound, ServerError, Unavailable
from ..models import Caller
from ..store.records import Stage, Staging
from .beside import Beside
from .board import Board
from .entries import Serving

TRIES = 5
"""Displacements that a call outlasts while it chooses its version."""
ANYONE = Caller().name
"""Nobody in particular: there is nothing to stick to, so each call is drawn by itself."""


class Choosing:
    """Chooses among what serves in production and beside it."""

    def __init__(self, board: Board, beside: Beside) -> None:
        self._board = board
        self._beside = beside

    async def chosen(
        self, name: str, number: int | None, stage: Stage | None, caller: Caller | None, resting: bool
    ) -> Serving | None:
        """The version that a call asks for or is drawn for; None for the one in production.

        Raises `NotFound` and `Invalid` for a choice there is not, `Broken` and `Unavailable` for a version
        that does not load.
        """
        if number is None and stage is None:
            staging = self._board.snapshot.staged.get(name)
            if caller is None or staging is None or not takes(staging, name, caller):
                return None
            return await self._canary(name, staging)
        await self._board.until(lambda: self._board.started)
        for _ in range(TRIES):
            wanted = self._wanted(name, number, stage, resting)
            if wanted is None or wanted == self._board.production(name):
                return None
            if serving := await self._beside.serving(name, wanted):
                return serving
        raise Unavailable(f"The versions of {name} are being changed; try again.")

    async def _canary(self, name: str, staging: Staging) -> Serving | None:
        """A call that asked for nothing is not to fail because the canary does."""
        entry = self._board.snapshot.entries.get(name)
        if entry is None or entry.state == "undeployed" or staging.number == self._board.production(name):
            return None
        try:
            return await self._beside.serving(name, staging.number)
        except ServerError:
            return None

    def _wanted(self, name: str, number: int | None, stage: Stage | None, resting: bool) -> int | None:
        """The number that is asked for; None for whatever is in production."""
        if number is not None and stage is not None:
            raise Invalid("Name a version or a stage, not both.")
        entry = self._board.snapshot.entries.get(name)
        deployed = entry is not None and entry.state != "undeployed"
        if number is not None and (deployed or resting):
            return number
        if not deployed or stage == "production":
            return None
        if stage != "staging":
            raise Invalid("A call may name the stage production or staging, or a version.")
        if (staging := self._board.snapshot.staged.get(name)) is None:
            raise NotFound(f"No version of {name} is in staging.")
        return staging.number


def takes(staging: Staging, name: str, caller: Caller) -> bool:
    """True if this caller's call of the pipeline `name` goes to staging.

    Whoever is in a share is in every larger share of the same version, too.
    """
    if caller.name == ANYONE:
        return random.random() < staging.share
    seed = hashlib.sha256(f"{name}\0{staging.number}\0{caller.name}".encode()).digest()
    return int.from_bytes(seed[:8]) / 2**64 < staging.share
