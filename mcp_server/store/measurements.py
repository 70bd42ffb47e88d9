"""What was measured of versions: values, and the async face of `measured`. Light: no database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from .history import History


@dataclass(frozen=True)
class Measurement:
    """The metrics of a version over a dataset."""

    id: str
    """Of the batch that measured it; of a training, any that is new."""
    pipeline: str
    version: int
    kind: Literal["training", "validation"]
    """`training` is what somebody registered, `validation` what we measured."""
    dataset: str
    """Its name; empty if it is not known."""
    digest: str
    """SHA-256 of the cases; empty for a training."""
    metrics: Mapping[str, float]
    total: int
    """Cases."""
    failed: int
    """Those whose run failed."""
    created: float
    """Seconds since the epoch."""


class Measurements:
    """Durable: what a method acknowledged survives `kill -9`. May raise `Unavailable`, as the store."""

    def __init__(self, history: History) -> None:
        self._history = history

    async def keep(self, measurement: Measurement) -> None:
        """Write it down; the same id is written once."""
        await self._history.change(lambda connection: _rows().keep(connection, measurement))

    async def of(self, pipeline: str, version: int) -> tuple[Measurement, ...]:
        """Everything that was measured of a version, the oldest first."""
        return await self._history.ask(lambda connection: _rows().of(connection, pipeline, version))


def latest(measurements: Iterable[Measurement], kind: str) -> Mapping[str, float]:
    """Each metric as it was measured last, given what was measured in the order of time."""
    return {name: value for each in measurements if each.kind == kind for name, value in each.metrics.items()}


def _rows() -> Any:
    return import_module(".measured", __package__)  # SQLAlchemy: not before the server answers
