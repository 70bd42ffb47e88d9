"""The kind `yaml`: a Haystack pipeline as `Pipeline.dumps()` writes it, with what it offers to callers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import networkx
from haystack import Pipeline

from ..errors import Broken
from ..models import Json, Manifest, Options, Problem, Run
from . import Work
from .answers import Answer, answer_schema, answers_in
from .arguments import Arguments, arguments_of
from .building import build
from .chat import opening
from .collected import drawn
from .composed import Composed, compose, texts_in
from .confirmation import wants_a_word
from .context import Context
from .exposure import Argument, arguments_in
from .options import kind_of, options_of, tool_of
from .publications import Publications
from .requirements import check_requirements
from .speech import Speech
from .templated import templated

_LONGEST_DESCRIPTION = 1000
_networkx: Any = networkx  # its stubs leave most of it unknown


def claims(root: Path) -> Path | None:
    """The one YAML file at the top of `root` with top-level `components`; None if there is not just one."""
    kind = kind_of(texts_in(root))
    return root / kind[1] if not isinstance(kind, Problem) and kind[0] == "yaml" else None


def load(name: str, root: Path) -> YamlPipeline:
    """Load the pipeline YAML in `root`, warmed up. Raises `Broken` with file and line."""
    texts = texts_in(root)
    kind = kind_of(texts)
    if isinstance(kind, Problem):
        raise Broken(kind)
    check_requirements(root)
    composed = compose(texts[kind[1]], kind[1])
    options = options_of(texts)
    return _offered(name, build(composed, root), composed, options, YamlPipeline)


def offered(name: str, pipeline: Pipeline, files: Mapping[str, bytes]) -> YamlPipeline:
    """A pipeline that was made by code, warmed up; `files` holds its YAML, if it has one. Raises `Broken`."""
    path, content = next(iter(files.items()), (name, b"components: {}"))
    pipeline.warm_up()
    return _offered(name, pipeline, compose(content, path), options_of(files), LentPipeline)


def _offered(
    name: str, pipeline: Pipeline, composed: Composed, options: Options, made: type[YamlPipeline]
) -> YamlPipeline:
    inputs, answers = arguments_in(pipeline, composed), answers_in(pipeline, composed)
    arguments = _compiled(inputs, composed)
    manifest = _manifest(name, options, pipeline, arguments, answers)
    publications = Publications(drawn(name, pipeline), templated(name, options.title, pipeline))
    return made(pipeline, inputs, arguments, answers, publications.told(manifest), publications)


class YamlPipeline:
    """A Haystack pipeline that callers reach through its exposed sockets."""

    def __init__(
        self,
        pipeline: Pipeline,
        inputs: Sequence[Argument],
        arguments: Arguments,
        answers: Sequence[Answer],
        manifest: Manifest,
        publications: Publications,
    ) -> None:
        self.manifest = manifest
        self._publications = publications
        self._pipeline = self.holder = pipeline
        self._arguments = arguments
        self._routes = {given.name: tuple((s.component, s.name) for s in given.sockets) for given in inputs}
        self._streaming = _streaming(pipeline)
        self._opening = opening(arguments.schema)
        self._named = {answer.name: (answer.component, answer.socket) for answer in answers if answer.name}
        self._included = {component for component, _ in self._named.values()} or None

    def prepare(self, run: Run) -> Work:
        """See `Pipeline.prepare`."""
        if run.verb == "chat" and self._opening:
            return Work(self.manifest.blocking, partial(self._chat, self._opening.filled(run.inputs)))
        if run.verb != "call":
            return self._publications.prepare(run)
        return Work(self.manifest.blocking, partial(self.call, run.inputs))

    def call(self, arguments: Json, context: Context) -> Any:
        """Run; the value is a mapping of the declared outputs, or of components to their outputs."""
        listeners = {name: _Listener(partial(_told, context, name)) for name in self._streaming}
        return self._run(self._data(arguments, context, listeners), self._answer)

    def _chat(self, arguments: Json, context: Context) -> Any:
        """Run; of what it streams only the last component is heard, for its text is the answer."""
        speech = Speech(context)
        listeners = {name: _Listener(speech.take) for name in self._streaming[-1:]}
        return self._run(
            self._data(arguments, context, listeners), lambda result: speech.value(self._answer(result))
        )

    def _run(self, data: dict[str, dict[str, Any]], give: Callable[[Any], Any]) -> Any:
        if self.manifest.blocking:
            return give(self._pipeline.run(data, self._included))
        return self._awaited(data, give)

    async def _awaited(self, data: dict[str, dict[str, Any]], give: Callable[[Any], Any]) -> Any:
        return give(await self._pipeline.run_async(data, self._included))

    def close(self) -> None:
        """Close what the components hold open."""
        self._pipeline.close()

    def _data(
        self, arguments: Json, context: Context, listeners: Mapping[str, _Listener]
    ) -> dict[str, dict[str, Any]]:
        """By component, always: Haystack guesses what a flat mapping means. Made anew, for it is changed."""
        data: dict[str, dict[str, Any]] = {}
        for component, listener in listeners.items():
            data[component] = {"streaming_callback": listener if self.manifest.blocking else listener.on_loop}
        for name, value in self._arguments.decode(arguments, context).items():
            for component, socket in self._routes[name]:
                data.setdefault(component, {})[socket] = value
        return data

    def _answer(self, result: Mapping[str, Mapping[str, Any]]) -> Json:
        if not self._named:
            return dict(result)
        found = {
            name: (result.get(component, {}), socket) for name, (component, socket) in self._named.items()
        }
        return {name: outputs[socket] for name, (outputs, socket) in found.items() if socket in outputs}


class LentPipeline(YamlPipeline):
    """One that belongs to the code that made it."""

    def close(self) -> None:
        """Leave it open: it is its maker's to close."""


class _Listener:
    """A streaming callback. When a component fails, Haystack copies and writes down what it was given."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell

    def __call__(self, chunk: Any) -> None:
        self._tell(chunk)

    async def on_loop(self, chunk: Any) -> None:
        """The same, where Haystack wants a coroutine function."""
        self(chunk)

    def __deepcopy__(self, memory: object) -> _Listener:
        return self

    def to_dict(self) -> Json:
        """Nothing of it is worth keeping."""
        return {}


def _told(context: Context, component: str, chunk: Any) -> None:
    context.chunk(chunk.content or "", source=component)


def _streaming(pipeline: Pipeline) -> tuple[str, ...]:
    """The components that can tell their text as it comes, in the order they run if there is one."""
    graph: Any = cast(Any, pipeline).graph
    names = list(_networkx.topological_sort(graph)) if _networkx.is_directed_acyclic_graph(graph) else graph
    nodes = [(name, graph.nodes[name]) for name in names]
    return tuple(name for name, data in nodes if _streams(data["instance"], data["input_sockets"].values()))


def _streams(component: Any, sockets: Collection[Any]) -> bool:
    """True if a callback can be given. It must not make several replies at once, which cannot be streamed,
    and must not be run by being given the callback, as one that needs nothing else would be."""
    settings: Json = getattr(component, "generation_kwargs", None) or {}
    free = any(socket.name == "streaming_callback" and not socket.senders for socket in sockets)
    held = any(socket.is_mandatory for socket in sockets) or not any(socket.senders for socket in sockets)
    return free and held and settings.get("n") in (None, 1)


def _compiled(inputs: Sequence[Argument], composed: Composed) -> Arguments:
    """The exposed sockets as if they were the parameters of a function."""

    def run() -> None: ...

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            given.name, kind, default=inspect.Parameter.empty if given.required else given.default
        )
        for given in inputs
    ]
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {given.name: given.annotation for given in inputs}
    try:
        return arguments_of(run, {given.name: given.description for given in inputs})
    except Broken as broken:
        raise composed.broken(broken.problem.message, "inputs") from broken


def _manifest(
    name: str, options: Options, pipeline: Pipeline, arguments: Arguments, answers: Sequence[Answer]
) -> Manifest:
    description = options.description or _description(pipeline, answers)
    tool = tool_of(name, options, description, arguments.schema, answer_schema(answers))
    native = all(getattr(component, "__haystack_supports_async__", False) for _, component in pipeline.walk())
    verbs = ("chat",) if opening(arguments.schema) else ()
    return Manifest(
        kind="yaml",
        tool=tool,
        blocking=not native,
        warnings=arguments.warnings,
        verbs=verbs,
        asks=any(wants_a_word(component) for _, component in pipeline.walk()),
    )


def _description(pipeline: Pipeline, answers: Sequence[Answer]) -> str:
    """What can be said honestly of a pipeline whose author said nothing."""
    graph: Any = cast(Any, pipeline).graph
    ordered = _networkx.is_directed_acyclic_graph(graph)
    names: list[str] = list(_networkx.topological_sort(graph) if ordered else graph)
    chained = all(graph.has_edge(first, second) for first, second in pairwise(names))
    told = ", ".join(answer.name or f"{answer.component}.{answer.socket}" for answer in answers)
    text = f"Runs the Haystack pipeline: {(' → ' if chained else ', ').join(names)}. Answers: {told}."
    return text if len(text) <= _LONGEST_DESCRIPTION else text[: _LONGEST_DESCRIPTION - 1] + "…"
