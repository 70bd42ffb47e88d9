"""Haystack's evaluators, run in a host of their own while it takes: this process has no Haystack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from ..engines import Engine
from ..engines import Outcome as Loaded
from ..errors import Unavailable
from ..models import Caller, Group, Member, Options, Run
from ..runs import ignore, new_id
from .metrics import Outcome, texts

NAME = "evaluators"
FOLDER = Path(__file__).parent / NAME
LIMIT = 120.0
"""Seconds they may take."""


async def scored(
    engine: Engine, names: Sequence[str], outcomes: Sequence[Outcome], caller: Caller
) -> dict[str, float]:
    """The score of each evaluator. Raises `Unavailable` if they cannot be run."""
    expected, given = texts(outcomes)
    inputs = {"names": [*names], "expected": expected, "given": given}
    own = new_id()  # stands for a digest too, so that evaluations beside this one keep out of its way
    run = Run(id=own, pipeline=NAME, version=0, digest=own, inputs=inputs, caller=caller, timeout=LIMIT)
    member = Member(name=NAME, digest=own, root=FOLDER, options=Options())
    engine.adopt(engine.open(Group(name=f"{NAME}.{own}", members=(member,))), unheard)
    try:
        result = await engine.run(run, ignore)
    finally:
        engine.release(NAME, own)
    if result.is_error or result.structured is None:
        (block,) = orjson.loads(result.content)
        raise Unavailable(f"Haystack's evaluators failed: {block['text']}")
    return orjson.loads(result.structured)


def unheard(name: str, outcome: Loaded) -> None:
    """Whether it loaded, the run tells."""
