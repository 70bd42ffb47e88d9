"""Makes the Haystack pipelines of a loaded source fast ones, see `fast`, by changing their class in place.

That is sound because `FastPipeline` adds methods and no state of its own: an object of either class has the
same layout and the same attributes. It is done once, after loading and before the first call, for the
pipelines that can be found: those a wrapper holds as attributes (also in lists and mappings), that of a YAML,
and those inside their components. What a wrapper builds later, and classes of authors, stay as they are.
Nothing of Haystack itself is changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, cast

from haystack import Pipeline

log = logging.getLogger(__name__)

DEPTH = 4
"""How deep pipelines are looked for in components of pipelines, and in containers."""


def hasten(holder: object) -> None:
    """Make every pipeline that `holder` has a fast one, unless this Haystack is made in another way."""
    found = [*_pipelines(holder, DEPTH)]
    if found and (kind := _fast_kind()):
        for pipeline in found:
            pipeline.__class__ = kind


@cache
def _fast_kind() -> type[Pipeline] | None:
    try:
        fast: Any = import_module(f"{__package__}.fast")
        if fast.fits():
            return fast.FastPipeline
    except (ImportError, AttributeError):  # a private part of Haystack was moved
        pass
    log.warning(
        "this Haystack has other inner parts than are known here: pipelines run as fast as it runs them"
    )
    return None


def _pipelines(value: object, depth: int) -> Iterator[Any]:
    """The pipelines of exactly Haystack's class in a value, innermost first."""
    if depth == 0:
        return
    if isinstance(value, Pipeline):
        for _, component in value.walk():
            yield from _pipelines(vars(component), depth - 1)
        if type(value) is Pipeline:
            yield value
        return
    if isinstance(value, Mapping):
        held: Iterable[object] = [*cast(Mapping[object, object], value).values()]
    else:
        held = [*cast(Iterable[object], value)] if isinstance(value, list | tuple) else ()
    for each in held:
        if isinstance(each, Pipeline | list | tuple | Mapping):
            yield from _pipelines(cast(object, each), depth - 1)
