"""Where pipelines run, and what they may use. Times are seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from .section import Names, Section, listed


class Running(Section):
    """The engine, deadlines and sizes."""

    reload: bool = Field(False, description="Notice changes in the folder and serve them.")
    engine: Literal["hosts", "local"] = Field(
        "hosts", description="Where pipelines run: in worker processes, or in this one."
    )
    env: Names = Field(
        (), description="Environment variables every pipeline may see: their names, separated by commas."
    )
    python_path: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(listed)] = Field(
        (), description="Folders with modules that every pipeline can import, separated by commas."
    )
    call_timeout: float = Field(
        300.0, gt=0, description="Seconds a call may take unless its pipeline says otherwise."
    )
    answer_timeout: float = Field(
        900.0, gt=0, description="Seconds a run waits for the answer to a question before it goes on without."
    )
    max_timeout: float = Field(
        3600.0, gt=0, description="Longest timeout a pipeline or a caller may ask for."
    )
    idle_timeout: float = Field(
        300.0,
        gt=0,
        description="Seconds without a call after which a version out of production is unloaded.",
    )
    breaker_failures: int = Field(
        20, ge=0, description="Failures in a row after which a pipeline is not called for a while; 0: never."
    )
    breaker_pause: float = Field(
        5.0, gt=0, description="Seconds of the first such pause; each further one is twice as long, to 60 s."
    )
    load_timeout: float = Field(120.0, gt=0, description="Seconds a pipeline may take to load.")
    threads: int = Field(32, ge=1, description="Threads in a host for pipelines that block.")
    fast_pipelines: bool = Field(
        True, description="Run Haystack pipelines with cheaper copies and bookkeeping; results are the same."
    )
    text_limit: int = Field(
        80_000, ge=1024, description="Bytes of text a result may show; a longer one becomes an artifact."
    )
    inline_limit: int = Field(
        1024 * 1024,
        ge=1024,
        description="Bytes of structured content a result may have, and of images and files in it; larger "
        "ones become artifacts.",
    )
    result_limit: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        description="Bytes a result may have with its artifacts; a larger one is an error.",
    )
