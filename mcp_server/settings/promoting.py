"""What a version must reach before it goes to production."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .section import Section


class Promoting(Section):
    """The gate in front of the stage production."""

    promotion_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Score that a version with golden cases must reach before `set_stage` puts it into "
        "production, and not below the one that is there. Default: none is asked for.",
    )
    promotion_metric: Literal["exact_match", "accuracy", "precision", "recall", "f1_score"] = Field(
        "exact_match", description="The metric of that score."
    )
