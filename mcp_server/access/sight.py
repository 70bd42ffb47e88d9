"""What a caller may see. What it may not is answered exactly as if it were not there."""

from __future__ import annotations

from ..errors import NotFound
from ..models import Action, Caller


def check(caller: Caller, action: Action, pipeline: str) -> None:
    """Raise `NotFound`, as the catalog for a name it does not know, unless the caller may do this with it."""
    if not caller.may(action, pipeline):
        raise NotFound(f"There is no pipeline named {pipeline[:64]}.")
