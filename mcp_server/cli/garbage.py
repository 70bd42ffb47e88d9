"""How often the serving process looks for garbage in cycles: seldom, and not among what it starts with."""

from __future__ import annotations

import gc

YOUNG = 20_000
"""Objects made and not freed after which it looks; at Python's 700 that was a fourth of what a call costs."""
OLDER, OLD = 5, 10
"""How often it looks at the young before it looks at those that stayed once, and at these before at all.

With 20 and 20, a look at all came after eight million objects, and could take seconds."""


def starting() -> None:
    """The process imports and makes what it serves with: nothing of it is garbage."""
    gc.disable()


def started() -> None:
    """From here on objects come and go; what is there stays."""
    gc.freeze()
    gc.set_threshold(YOUNG, OLDER, OLD)
    gc.enable()
