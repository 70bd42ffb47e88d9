"""What the sections of the settings share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings, NoDecode


def listed(value: object) -> object:
    """`A,B` as a shell writes it, or a list as the file does."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(listed)]
"""Texts, separated by commas where a shell writes them."""


class Section(BaseSettings):
    """Some of the settings, by what they are about."""
