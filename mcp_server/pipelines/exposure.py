"""Which inputs of a YAML pipeline are arguments, and under which names.

The author's `inputs:` rules, as Hayhooks reads it too (name → `component.socket`, or a list of them).
Without it these are exposed: every socket that must be given, and the optional ones that are safe in any
hands.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

import networkx
from haystack import Pipeline

from .composed import Composed
from .docstrings import documentation
from .sockets import Unexpressible, expressible, type_name
from .templates import variable_types

_networkx: Any = networkx  # its stubs leave most of it unknown

UNSAFE = frozenset(
    {"template", "template_variables", "system_prompt", "user_prompt", "error_template"}  # replace the prompt
    | {"generation_kwargs", "extraction_kwargs", "retriever_kwargs", "kwargs"}  # reach into the component
    | {"tools", "tools_strict", "hook_context", "streaming_callback", "snapshot_callback"}
    | {"pattern", "reference_pattern"}  # a regular expression may run for ever
    | {"urls"}  # the server would fetch them
    | {"meta_fields", "return_embedding"}
)
"""Sockets that only the author's `inputs:` can expose."""
_PLACE = re.compile(r"(^|_)(path|paths|file|dir|directory|folder|url|uri|host)$")
"""So are those whose names say that a component reads or fetches what they name."""

FILES = "The files to read, each with its text or its bytes; never a path."
"""What is told of `sources`: Haystack's own words are about paths, which no caller may give."""


@dataclass(frozen=True)
class Socket:
    """An input that nothing in the pipeline feeds, or that takes any number of values."""

    component: str
    name: str
    annotation: Any
    guessed: bool
    """True if Haystack says `Any`, and the annotation comes from the prompt's text or is that `Any`."""
    mandatory: bool
    """True if a run needs a value from outside: nothing feeds it, or only the loop that it begins."""
    connected: bool
    default: Any
    description: str | None

    @property
    def path(self) -> str:
        """As authors write it."""
        return f"{self.component}.{self.name}"


@dataclass(frozen=True)
class Argument:
    """A name that callers give a value for, and the sockets it feeds; they all accept `annotation`."""

    name: str
    annotation: Any
    sockets: tuple[Socket, ...]

    @property
    def required(self) -> bool:
        """True if one of the sockets must be given."""
        return any(socket.mandatory for socket in self.sockets)

    @property
    def default(self) -> Any:
        """What the sockets fall back to; None if they differ."""
        defaults = [socket.default for socket in self.sockets]
        return defaults[0] if all(default == defaults[0] for default in defaults) else None

    @property
    def description(self) -> str:
        """What a component's docstring says of it, else where it goes."""
        told = (socket.description for socket in self.sockets if socket.description)
        return next(told, f"Goes to {', '.join(f'`{socket.path}`' for socket in self.sockets)}.")


def arguments_in(pipeline: Pipeline, composed: Composed) -> tuple[Argument, ...]:
    """What callers may give, in the order of the mapping or of the components.

    Raises `Broken` with the line for a mapping that does not fit the pipeline, and for a socket that must
    be given but is not exposed or cannot come from a client.
    """
    sockets = {socket.path: socket for socket in _sockets(pipeline)}
    wanted = composed.value.get("inputs")
    if not wanted:
        return tuple(_offered(pipeline, list(sockets.values()), composed))
    chosen = tuple(_chosen(pipeline, sockets, composed))
    fed = {socket.path for argument in chosen for socket in argument.sockets}
    for path, socket in sockets.items():
        if socket.mandatory and path not in fed:
            raise composed.broken(f"nothing feeds `{path}`, which must be given: name it here", "inputs")
    return chosen


def mapped(composed: Composed, key: str) -> Iterator[tuple[str, list[str]]]:
    """The names under `inputs` or `outputs`, each with its `component.socket` paths. Raises `Broken`."""
    mapping = composed.value[key]
    if not isinstance(mapping, dict):
        raise composed.broken(f"`{key}` must be a mapping of names to `component.socket`", key)
    for name, given in cast(dict[Any, Any], mapping).items():
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or len(name) > 64:
            raise composed.broken(f"`{name}` is no name: use letters, digits and `_`", key, str(name))
        paths: list[Any] = cast(list[Any], given) if isinstance(given, list) else [given]
        if not paths or not all(isinstance(path, str) and "." in path for path in paths):
            raise composed.broken(f"`{name}` must be a `component.socket`, or a list of them", key, name)
        yield name, paths


def unknown(path: str, kind: str, pipeline: Pipeline, sockets: Mapping[str, Any]) -> str:
    """What is wrong with a path that names no socket of the pipeline."""
    component, _, socket = path.partition(".")
    names: Any = cast(Any, pipeline).graph.nodes
    if component not in names:
        return f"there is no component `{component}`; there are {', '.join(names)}"[:300]
    return f"`{component}` has no {kind} `{socket}`; it has {', '.join(sockets)}"[:300]


def _sockets(pipeline: Pipeline) -> Iterator[Socket]:
    graph: Any = cast(Any, pipeline).graph
    for component, data in graph.nodes(data=True):
        instance = data["instance"]
        sockets: Mapping[str, Any] = data["input_sockets"]
        descriptions = documentation(inspect.getdoc(instance.run), sockets.keys()).parameters
        inferred = variable_types(instance)
        for name, socket in sorted(sockets.items(), key=_order):
            if socket.senders and not socket.is_variadic:
                continue  # a value for a connected socket would change it for every later call
            looped = set(socket.senders) <= {component, *_networkx.descendants(graph, component)}
            yield Socket(
                component=component,
                name=name,
                annotation=inferred.get(name, Any) if socket.type is Any else socket.type,
                guessed=socket.type is Any,
                mandatory=socket.is_mandatory and looped,
                connected=bool(socket.senders),
                default=None if socket.is_mandatory else socket.default_value,
                description=FILES if name == "sources" else descriptions.get(name),
            )


def _order(socket: tuple[str, Any]) -> tuple[bool, str]:
    """As declared; the variables of a prompt, which Haystack keeps in a set, come first and by name."""
    name, declared = socket
    return (False, name) if declared.type is Any else (True, "")


def _chosen(pipeline: Pipeline, sockets: Mapping[str, Socket], composed: Composed) -> Iterator[Argument]:
    """The arguments the author maps."""
    for name, paths in mapped(composed, "inputs"):
        for path in paths:
            if path not in sockets:
                raise composed.broken(_unusable(path, pipeline), "inputs", name)
        group = tuple(sockets[path] for path in paths)
        annotation = _common(group)
        if annotation is None:
            kinds = ", ".join(dict.fromkeys(type_name(socket.annotation) for socket in group))
            raise composed.broken(f"`{name}` feeds sockets of different types: {kinds}", "inputs", name)
        try:
            expressible(annotation)
        except Unexpressible as error:
            raise composed.broken(f"`{name}`: {error}", "inputs", name) from error
        yield Argument(name, annotation, group)


def _offered(pipeline: Pipeline, sockets: Sequence[Socket], composed: Composed) -> Iterator[Argument]:
    """The arguments without a mapping: sockets of one name and type are one argument."""
    groups: dict[str, list[Socket]] = {}
    for socket in sockets:
        if socket.connected and not socket.mandatory:
            continue
        fault = _fault(pipeline.get_component(socket.component), socket)
        if fault is None:
            groups.setdefault(socket.name, []).append(socket)
        elif socket.mandatory:
            raise composed.broken(
                f"`{socket.path}` must be given, but {fault}", "components", socket.component
            )
    taken = set(groups)
    for name, group in groups.items():
        annotation = _common(group)
        if annotation is not None:
            yield Argument(_identifier(name), annotation, tuple(group))
            continue
        for socket in group:
            own = _identifier(f"{socket.component}_{name}")
            if own in taken:
                raise composed.broken(f"two arguments would be called `{own}`: write `inputs:`")
            taken.add(own)
            yield Argument(own, socket.annotation, (socket,))


def _fault(component: Any, socket: Socket) -> str | None:
    """Why a socket is not offered without the author's word."""
    if socket.name in UNSAFE or (_PLACE.search(socket.name) and not socket.guessed):
        return "it is not safe in every caller's hands: name it under `inputs:` to expose it"
    if socket.name == "filters" and getattr(component, "filters", None):
        return "callers could lift the filters set here: name it under `inputs:` to expose it"
    if socket.name == "documents" and hasattr(component, "file_path_meta_field"):
        return "it reads files a caller names: name it under `inputs:` to expose it"
    try:
        expressible(socket.annotation)
    except Unexpressible as error:
        return str(error)
    return None


def _common(group: Sequence[Socket]) -> Any:
    """The narrowest annotation, if every socket of the group accepts it; else None. A guess gives way."""
    known = [socket.annotation for socket in group if not socket.guessed]
    if not known:
        guesses = [socket.annotation for socket in group]
        return guesses[0] if all(guess == guesses[0] for guess in guesses) else Any
    fitting = (one for one in known if all(_within(one, other) for other in known))
    return next(fitting, None)


def _within(narrow: Any, wide: Any) -> bool:
    return wide is Any or all(any(arm == other for other in _arms(wide)) for arm in _arms(narrow))


def _arms(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _unusable(path: str, pipeline: Pipeline) -> str:
    component, _, socket = path.partition(".")
    inputs = pipeline.inputs(include_components_with_connected_inputs=True).get(component, {})
    if socket in inputs:
        return f"`{path}` is fed by another component: it takes no value from outside"
    return unknown(path, "input", pipeline, inputs)


def _identifier(name: str) -> str:
    """A name from component and socket names, which may hold other characters."""
    made = re.sub(r"\W", "_", name)[:64]
    return f"_{made}" if keyword.iskeyword(made) or not made.isidentifier() else made
