"""Makes what a loaded source has of Haystack fast, by changing the class of objects in place.

That is sound because the fast classes, see `fast`, `fast_search` and `fast_templates`, replace methods only:
objects of either have the same attributes. It is done once, after loading and before the first call, for what
can be found: what a wrapper holds as attributes (also in lists and mappings), or a YAML, and what is inside
their components. What a wrapper builds later, and classes of authors, stay as they
are. Nothing of Haystack itself is changed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any, cast

from haystack import Pipeline

log = logging.getLogger(__name__)

MOST = 100_000
"""Values that are looked at; those that are the fewest steps away come first."""
FAST: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "haystack.core.pipeline.pipeline.Pipeline": ("fast", "FastPipeline"),
        "haystack.document_stores.in_memory.document_store.InMemoryDocumentStore": (
            "fast_search",
            "FastDocumentStore",
        ),
        "haystack.utils.jinja2_sandbox.HaystackSandboxedEnvironment": ("fast_templates", "FastEnvironment"),
    }
)
"""By the class of an object, which need not be imported: where its fast one is."""


def hasten(holder: object) -> None:
    """Make all that `holder` has fast, unless this Haystack is made in another way."""
    for each in _found(holder):
        if kind := _fast(_name(each)):
            each.__class__ = kind


@cache
def _fast(name: str) -> type[Any] | None:
    module, kind = FAST[name]
    try:
        fast: Any = import_module(f"{__package__}.{module}")
        if fast.fits():
            return getattr(fast, kind)
    except Exception:  # another release of Haystack may have moved, or changed, anything private
        pass
    log.warning("this Haystack has another %s than is known here: it stays as fast as it is", name)
    return None


def _found(holder: object) -> list[Any]:
    """What can be made fast in a value, each once."""
    seen = {id(holder)}
    waiting = [holder]
    for value in waiting:
        for each in _held(value):
            if id(each) not in seen and len(seen) < MOST:
                seen.add(id(each))
                waiting.append(each)
    return [each for each in waiting if _name(each) in FAST]


def _held(value: object) -> Iterable[object]:
    if isinstance(value, Pipeline):
        return [component for _, component in value.walk()]
    if isinstance(value, Mapping):
        return [*cast(Mapping[object, object], value).values()]
    if isinstance(value, list | tuple):
        return [*cast(Iterable[object], value)]
    attributes = getattr(value, "__dict__", {})
    return [*attributes.values()] if "__haystack_input__" in attributes else ()  # of a component


def _name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
