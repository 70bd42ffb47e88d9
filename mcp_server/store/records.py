"""What is kept about versions beside their sources, and the changes people make to it. Light: no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ..models import Version

Stage = Literal["production", "staging", "archived", "none"]
NOTHING: Mapping[str, None] = MappingProxyType({})


@dataclass(frozen=True)
class Record:
    """A version with what is known and what people said about it."""

    version: Version
    author: str
    parent: int | None = None
    """The version that served when this one came."""
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    archived: bool = False
    deployed: float | None = None
    """Since when it has been in production, in seconds since the epoch; None for all others."""


@dataclass(frozen=True)
class Staging:
    """Which version is in staging, and the share of the calls it gets, from 0 to 1."""

    number: int
    share: float = 0.0


@dataclass(frozen=True)
class Remarks:
    """What a person says about a version. None leaves as it was; a tag or metric of None is taken away."""

    description: str | None = None
    tags: Mapping[str, str | None] = field(default_factory=lambda: NOTHING)
    metrics: Mapping[str, float | None] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True)
class Placing:
    """A version gets a stage. Production is pinned: it serves whatever the folder holds."""

    pipeline: str
    number: int
    stage: Stage
    share: float = 0.0
    """For staging."""
    archives: tuple[int, ...] = ()
    """Versions that are archived with it because it displaces them."""
    unpins: bool = False
    """True if production goes back to what the folder holds."""
