"""How far pipelines are walled off, and what the walls let through."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from ..models import ANY
from .section import Names, Section, listed

Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(listed)]


class Isolating(Section):
    """The level, and what sandboxed pipelines are allowed."""

    isolation: Literal["process", "sandbox"] | None = Field(
        None,
        description="How far pipelines are walled off. Default: `sandbox` for what is uploaded over a "
        "network, `process` for all others.",
    )
    allow_net: Names = Field(
        (), description="Ports that sandboxed pipelines may connect to, separated by commas; `*` for all."
    )
    allow_env: Names = Field(
        (), description="Environment variables that pipelines uploaded over a network may ask for."
    )
    allow_read: Paths = Field(
        (), description="Folders that sandboxed pipelines may read, separated by commas."
    )
    allow_write: Paths = Field(
        (), description="Folders that sandboxed and uploaded pipelines may write, separated by commas."
    )
    memory_limit: int = Field(
        2 * 1024**3, ge=256 * 1024**2, description="Bytes of memory a sandboxed host may have."
    )
    cpu_limit: float = Field(
        120.0, gt=0, description="Seconds of computing after which a call in a sandbox is ended."
    )
    file_limit: int = Field(
        256 * 1024**2, ge=1024, description="Bytes of a file that a sandboxed pipeline may write."
    )

    @field_validator("allow_net")
    @classmethod
    def _ports(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for port in value:
            if port != ANY and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
                raise ValueError(
                    f"{port!r} is no port: the operating system lets connections through by port, such as "
                    "443, and not by host"
                )
        return value
