"""One call of a component in a fast pipeline: copied inputs, no span, Haystack's own errors."""

from __future__ import annotations

import logging as plain_logging
from collections.abc import Mapping
from typing import Any, cast

from haystack import logging
from haystack.core.errors import BreakpointException, PipelineRuntimeError
from haystack.core.pipeline import base
from haystack.utils import async_utils

from .copying import copied
from .haystack import prepared

_base: Any = base
_execute: Any = cast(Any, async_utils)._execute_component_async
_told: Any = logging.getLogger("haystack.core.pipeline.pipeline")


@prepared
def run_component(
    component_name: str, component: dict[str, Any], inputs: dict[str, Any], component_visits: dict[str, int]
) -> Mapping[str, Any]:
    """Run it, count the visit, give what it gave. Raises what Haystack's `_run_component` raises."""
    instance = component["instance"]
    given = copied(inputs)
    _say(component_name)
    try:
        outputs = instance.run(**given)
    except (BreakpointException, PipelineRuntimeError):
        raise
    except Exception as error:
        raise PipelineRuntimeError.from_exception(component_name, instance.__class__, error) from error
    return _checked(component_name, component, outputs, component_visits)


@prepared
async def run_component_async(
    component_name: str, component: dict[str, Any], inputs: dict[str, Any], component_visits: dict[str, int]
) -> Mapping[str, Any]:
    """The same on the event loop; a component that only blocks runs in a thread."""
    instance = component["instance"]
    given = copied(inputs)
    _say(component_name)
    try:
        outputs = await _execute(instance, **given)
    except (BreakpointException, PipelineRuntimeError):
        raise
    except Exception as error:
        raise PipelineRuntimeError.from_exception(component_name, instance.__class__, error) from error
    return _checked(component_name, component, outputs, component_visits)


def _say(component_name: str) -> None:
    if _told.isEnabledFor(plain_logging.INFO):
        _told.info("Running component {component_name}", component_name=component_name)


def _checked(
    component_name: str, component: dict[str, Any], outputs: Any, component_visits: dict[str, int]
) -> Mapping[str, Any]:
    """What a component gave, its visit counted. Raises as Haystack does for what is no mapping."""
    component_visits[component_name] += 1
    if not isinstance(outputs, Mapping):
        raise PipelineRuntimeError.from_invalid_output(
            component_name, component["instance"].__class__, outputs
        )
    if not outputs.keys() <= component["output_sockets"].keys():
        _base._validate_component_output_keys(component_name, component, outputs)
    return cast(Mapping[str, Any], outputs)
