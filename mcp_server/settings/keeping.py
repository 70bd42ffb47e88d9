"""Where the pipelines are, and what the server keeps."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..models import Recording
from .section import Section


class Keeping(Section):
    """Folders, the store, and what history keeps."""

    folder: Path | None = Field(None, description="The folder with the pipelines.")
    state: Path | None = Field(
        None,
        description="Where the server keeps its own files. Default: a place in user data, one per folder.",
    )
    store: str | None = Field(
        None,
        description="The database: `sqlite:///PATH` or `postgresql+psycopg://…`. Default: in the state.",
    )
    record: Recording = Field(
        "full",
        description="What history keeps of runs: all, `steps` (components too), `meta` (no content), `none`.",
    )
    keep_runs: int = Field(100_000, ge=0, description="Ended runs that history keeps.")
    keep_days: int = Field(30, ge=1, description="Days that history keeps ended runs.")
    keep_bytes: int = Field(
        2 * 1024 * 1024 * 1024, ge=0, description="Bytes of inputs, results and artifacts that history keeps."
    )
    keep_steps: int | None = Field(
        None, ge=0, description="Recorded component calls that history keeps. Default: those of its runs."
    )
    keep_steps_days: int | None = Field(
        None, ge=1, description="Days that it keeps them. Default: as long as their runs."
    )
    keep_steps_bytes: int | None = Field(
        None, ge=0, description="Bytes of what they got and gave that it keeps. Default: all of its runs."
    )
    keep_artifacts: int | None = Field(
        None, ge=0, description="Artifacts that history keeps. Default: those of its runs."
    )
    keep_artifacts_days: int | None = Field(
        None, ge=1, description="Days that it keeps them. Default: as long as their runs."
    )
    keep_artifacts_bytes: int | None = Field(
        None, ge=0, description="Bytes of them that it keeps. Default: all of its runs."
    )
