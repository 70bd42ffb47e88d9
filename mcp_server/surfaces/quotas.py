"""How much of something clients hold for long: so many in all, so many of each."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from starlette.types import Scope

from ..errors import Unavailable
from ..models import Caller


class Quota:
    """Counts what is held, and refuses one too many."""

    def __init__(self, what: str, most: int, of_one: int) -> None:
        self.most = most
        self.of_one = of_one
        self._what = what
        self._count = 0
        self._of: Counter[str] = Counter()

    @contextmanager
    def held(self, owner: str | None) -> Generator[None]:
        """Hold one until the block ends; without an owner only the sum counts. Raises `Unavailable`."""
        if owner is not None and self._of[owner] >= self.of_one:
            raise Unavailable(
                f"This client holds {self.of_one} {self._what}, the most it may; close one first."
            )
        if self._count >= self.most:
            raise Unavailable(f"All {self._what} of this server are taken; try later.")
        self._count += 1
        if owner is not None:
            self._of[owner] += 1
        try:
            yield
        finally:
            self._count -= 1
            if owner is not None:
                self._of[owner] -= 1
                if not self._of[owner]:
                    del self._of[owner]


def owner_of(scope: Scope) -> str | None:
    """Who answers for a request: a caller known by name, else an address.

    None if it is from this machine: what runs here shares one address, and is no one party.
    """
    caller: Caller | None = scope.get("state", {}).get("caller")
    if caller is not None and caller.name != Caller().name:
        return caller.name
    address = (scope.get("client") or ("",))[0]
    try:
        return None if ipaddress.ip_address(address).is_loopback else address
    except ValueError:
        return None
