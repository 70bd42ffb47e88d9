"""What others are to be told: deliveries as values, and the async face of their log. Light: no database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from ..models import Webhook
from .history import History

if TYPE_CHECKING:
    from sqlalchemy import Connection

Delivering = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True)
class Delivery:
    """One notice to one address, and how far it is. Ids sort by time."""

    id: str
    event: Webhook
    pipeline: str
    version: int | None
    run: str | None
    outcome: str
    """What became of the pipeline or run that it is about."""
    created: float
    """Seconds since the epoch."""
    target: str
    """Scheme and host of the address; the rest may be a secret."""
    status: Delivering = "pending"
    attempts: int = 0
    code: int | None = None
    """The HTTP status of the last attempt."""
    error: str | None = None
    """Why the last attempt had none."""


class Outbox:
    """The log of deliveries. What is pending when its server ends is taken over by the next one."""

    def __init__(self, history: History) -> None:
        self._history = history

    def put(self, delivery: Delivery) -> None:
        """Keep this state of a delivery, soon. Returns at once and never fails."""
        owner = self._history.instance
        self._history.later(lambda connection: _rows().write(connection, owner, delivery))

    async def adopt(self) -> Sequence[Delivery]:
        """Take over what is pending of servers that are gone, the oldest first. Raises `Unavailable`."""
        owner = self._history.instance
        return await self._history.change(lambda connection: _rows().adopt(connection, owner))

    async def listed(
        self, event: str | None, status: str | None, limit: int, before: str | None
    ) -> Sequence[Delivery]:
        """The newest first, up to `limit`, older than the id `before`. Raises `Unavailable`."""
        chosen = {"event": event, "status": status}

        def read(connection: Connection) -> Sequence[Delivery]:
            return _rows().listed(connection, chosen, limit, before)

        return await self._history.ask(read)


def _rows() -> ModuleType:
    """Where the statements are; imported in a thread that has a connection, not before."""
    return import_module(f"{__package__}.deliveries")
