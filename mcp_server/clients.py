"""What clients are known to do to tools: the limits of `clients.toml`, as values."""

from __future__ import annotations

import tomllib
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Literal

from .models import Noun

Effect = Literal["breaks", "cuts", "advice"]


class Limit(Noun):
    """One limit of one client; `clients.toml` says what each field means."""

    client: str
    rule: str
    value: int | tuple[str, ...]
    prefix: str = ""
    effect: Effect
    source: str
    date: date


class Clients(Noun):
    """All limits, and when somebody last went through them."""

    checked: date
    limits: tuple[Limit, ...]


@cache
def clients() -> Clients:
    """The limits this version knows of; read once."""
    text = files(str(__package__)).joinpath("clients.toml").read_text(encoding="utf-8")
    return Clients.model_validate(tomllib.loads(text))
