"""From a YAML to the Haystack pipeline it describes, or to the line that is at fault."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from haystack import Pipeline

from ..errors import Broken
from ..models import Json
from .composed import Composed
from .faults import broken_by

_OURS = f"{__package__}.confirmation"
"""The one module of this server that a YAML may name: it holds `AskUser`, and nothing that could do harm."""
_UNTRUSTED = re.compile(r"from module '([^']+)'.* allowlist")
_CULPRIT = re.compile(r"\(name: '([^']+)'\)|[Cc]omponent '([^']+)'")


def build(composed: Composed, root: Path) -> Pipeline:
    """The pipeline, warmed up: a call must not pay for models and clients.

    Haystack's allow-list of modules applies, and `AskUser` is on it. Raises `Broken` with the line of the
    component or connection for whatever Haystack or a component's constructor refuses. `root` is the folder
    of the pipeline.
    """
    _check_shape(composed)
    try:
        pipeline = Pipeline.from_dict(composed.value, allowed_modules=[_OURS])
    except Exception as error:  # the constructors of components run here: anything may come
        raise _blamed(error, composed, root, "loading") from error
    try:
        pipeline.warm_up()
    except Exception as error:  # components load models and open clients here: anything may come
        raise _blamed(error, composed, root, "warming up") from error
    return pipeline


def _check_shape(composed: Composed) -> None:
    """What Haystack would stumble over without saying where."""
    components = composed.value.get("components")
    if not isinstance(components, dict) or not components:
        raise composed.broken("`components` must name at least one component", "components")
    known = cast(dict[Any, Any], components)
    for name, component in known.items():
        kind: Any = cast(Json, component).get("type") if isinstance(component, dict) else None
        if not isinstance(kind, str) or "." not in kind:
            message = f"`{name}` must have a `type`: the full path of a component class"
            raise composed.broken(message, "components", str(name))
    connections: Any = composed.value.get("connections") or []
    if not isinstance(connections, list):
        raise composed.broken("`connections` must be a list of `sender` and `receiver`", "connections")
    for place, connection in enumerate(cast(list[Any], connections)):
        for end in ("sender", "receiver"):
            path: Any = cast(Json, connection).get(end) if isinstance(connection, dict) else None
            if not isinstance(path, str):
                raise composed.broken(f"a connection must have a `{end}`", "connections", place)
            if path.partition(".")[0] not in known:
                raise composed.broken(f"there is no component for `{path}`", "connections", place, end)


def _blamed(error: BaseException, composed: Composed, root: Path, doing: str) -> Broken:
    """The problem at the component or connection that Haystack's error is about, told by its first cause."""
    message = str(error)
    path = _place(message, composed)
    while error.__cause__ is not None:
        error = error.__cause__
    if path[0] == "connections":
        return composed.broken(" ".join(str(error).split())[:300], *path)
    if len(path) == 1:
        return composed.broken(broken_by(error, root, doing).problem.message, *path)
    kind = composed.value["components"][path[1]]["type"]
    if isinstance(error, ModuleNotFoundError) and kind.startswith("haystack_integrations."):
        return composed.broken(f"`{kind}` is not installed: `pip install {_integration(kind)}`", *path)
    if "component registry" in str(error):
        return composed.broken(f"there is no component class `{kind}`", *path)
    if module := _UNTRUSTED.search(str(error)):
        return composed.broken(f"a YAML may not load from the module `{module[1]}`: write a wrapper", *path)
    return composed.broken(broken_by(error, root, f"{doing} `{path[1]}`").problem.message, *path)


def _place(message: str, composed: Composed) -> tuple[str | int, ...]:
    """Where the thing is written that Haystack names in its message."""
    components: Json = composed.value["components"]
    named = [name for match in _CULPRIT.finditer(message) for name in match.groups() if name in components]
    if named:
        return "components", named[0]
    connections: list[Json] = composed.value.get("connections") or []
    for place, connection in enumerate(connections if "onnect" in message else []):
        ends = (connection["sender"], connection["receiver"])
        if all(end in message for end in ends) or any(f"'{end} " in f"{message} " for end in ends):
            return "connections", place
    for name, component in components.items():
        if component["type"].rpartition(".")[0] in message or f"'{name}'" in message:
            return "components", name
    return ("components",)


def _integration(kind: str) -> str:
    """The distribution of an integration, by the naming its authors agreed on."""
    parts = kind.split(".")
    return f"{parts[3 if parts[1] == 'components' else 2].replace('_', '-')}-haystack"
