"""The kind `wrapper`: a folder with a `pipeline_wrapper.py` whose class `PipelineWrapper` is called.

Light to import, the front asks `claims`; what is heavy is imported by `load`, which runs in hosts.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast, get_origin

from ..errors import Broken
from ..models import Json, Manifest, Options, Problem, Run
from . import Work
from .arguments import Arguments, arguments_of, given_to, return_annotation
from .authoring import PipelineWrapper
from .chat import COMPLETIONS, RESPONSES, UPLOAD, Chat, Method, as_tool, opening
from .collected import published_by
from .context import Context
from .diagrams import has_diagram
from .docstrings import Documentation, documentation
from .faults import broken_by, written_in
from .modules import Modules
from .options import WRAPPER, options_of, tool_of
from .outputs import ASYNC_STREAMS, is_stream, is_text_stream, output_schema
from .publications import Publications
from .questions import Ask
from .requirements import check_requirements
from .returned import MOST, asked_by, questions_in
from .stated import PlainArguments, Promise, plain_arguments, stated_schema
from .streams import whole, whole_async

_CHATS = (*COMPLETIONS, *RESPONSES)
_METHODS = ("run_api_async", "run_api", *_CHATS)
"""What a wrapper may be called by; the first that it defines is."""
_BASES = ("hayhooks.", "mcp_server.pipelines.authoring")
"""Where base classes come from whose methods are only there to be replaced."""


def claims(root: Path) -> Path | None:
    """The file that makes `root` a wrapper."""
    path = root / WRAPPER
    return path if path.is_file() else None


def load(name: str, root: Path) -> WrapperPipeline:
    """Import the wrapper in place, set it up and warm it up; blocks.

    Raises `Broken` for whatever the author can mend, with the last line in the author's files. A load that
    fails leaves no module behind.
    """
    root = root.absolute()
    modules = Modules(name, root)
    try:
        return _loaded(name, root, modules)
    except BaseException:
        modules.close()
        raise


def _loaded(name: str, root: Path, modules: Modules) -> WrapperPipeline:
    with _told(root, "importing it"):
        check_requirements(root)
        options = options_of({WRAPPER: (root / WRAPPER).read_bytes()})
        wrapper = _wrapper_class(modules)
    return offered(name, wrapper, options, root, modules)


def offered(
    name: str, wrapper: Callable[[], Any], options: Options, root: Path, modules: Modules | None = None
) -> WrapperPipeline:
    """The wrapper that is made so, set up and warmed up; `root` is the author's folder. Raises `Broken`."""
    with _told(root, "`PipelineWrapper()`"):
        instance = wrapper()
        entry = _entry(name, instance)
        chat = _chat(instance, entry)
        manifest = _manifest(name, entry, options, chat)
    with _told(root, "`setup`"):
        _set_up(instance)
    with _told(root, "what it publishes"):
        publications = _published(name, options.title, instance)
    return WrapperPipeline(
        publications.told(manifest), entry, instance, modules or Modules(name, root), publications, chat
    )


def _published(name: str, title: str | None, instance: Any) -> Publications:
    """What its methods publish, and the chat prompt of its Haystack pipeline, if it has one."""
    found = published_by(name, instance)
    if not has_diagram(pipeline := cast(Any, getattr(instance, "pipeline", None))):
        return found
    from .templated import templated  # not above: wrappers without a Haystack pipeline do not need it

    return replace(found, prompts={**templated(name, title, pipeline), **found.prompts})


@contextlib.contextmanager
def _told(root: Path, doing: str) -> Generator[None]:
    """Tell what the author's code raises as a problem; it may be anything, SystemExit included."""
    try:
        yield
    except BaseException as error:
        raise broken_by(error, root, doing) from error


def _wrapper_class(modules: Modules) -> type[Any]:
    module = modules.load(WRAPPER.removesuffix(".py"))
    found = getattr(module, PipelineWrapper.__name__, None)
    if not isinstance(found, type) or found is PipelineWrapper:
        raise Broken(Problem(message="define a class named `PipelineWrapper`", file=WRAPPER))
    return found


def _set_up(wrapper: Any) -> None:
    """`setup`, then the warm-up that the first call would otherwise pay for."""
    setup = getattr(wrapper, "setup", None)
    if inspect.iscoroutinefunction(setup):
        raise Broken(written_in("`setup` must be a plain function", setup))
    if setup is not None:
        setup()
    pipeline = getattr(wrapper, "pipeline", None)
    warm_up = getattr(pipeline, "warm_up", None)
    if callable(warm_up) and not getattr(pipeline, "_is_warmed_up", False):
        warm_up()


@dataclass(frozen=True)
class Entry:
    """The function a call ends in, and what was learned from its signature and docstring."""

    function: Callable[..., Any]
    arguments: Arguments | PlainArguments
    promise: Promise | None
    """The output schema, where the author states one."""
    documentation: Documentation
    returns: Any
    blocking: bool
    streams: bool
    asks: bool
    """True if it may return questions."""


def _entry(name: str, wrapper: Any) -> Entry:
    kind = cast(type[Any], type(wrapper))
    method = next((method for method in _METHODS if _defines(kind, method)), None)
    if method is None:
        message = f"`{kind.__name__}` defines none of {', '.join(_METHODS)}"
        raise Broken(Problem(message=message, file=WRAPPER))
    written = getattr(wrapper, method)
    if not callable(written):
        raise Broken(Problem(message=f"`{method}` is not a function", file=WRAPPER))
    function = as_tool(name, written) if method in _CHATS else written
    told = documentation(written.__doc__, inspect.signature(function).parameters)
    returns, asks = asked_by(return_annotation(written))
    takes, gives = stated_schema(wrapper, "input_schema"), stated_schema(wrapper, "output_schema")
    return Entry(
        function,
        plain_arguments(function, takes) if takes else arguments_of(function, told.parameters),
        Promise(gives) if gives else None,
        told,
        returns,
        _blocks(written, returns),
        is_stream(returns) or inspect.isgeneratorfunction(written) or inspect.isasyncgenfunction(written),
        asks,
    )


def _defines(wrapper: type[Any], method: str) -> bool:
    owner = next((parent for parent in wrapper.__mro__ if method in vars(parent)), None)
    return owner is not None and not owner.__module__.startswith(_BASES)


def _blocks(function: Callable[..., Any], returns: Any) -> bool:
    """False for what has to be called on the event loop."""
    function = inspect.unwrap(function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        return False
    return (get_origin(returns) or returns) not in (*ASYNC_STREAMS, Awaitable)


def _chat(wrapper: Any, entry: Entry) -> Chat:
    """Its methods for chats; without any, the function of its tool, if that has an input for what is said."""
    kind = cast(type[Any], type(wrapper))
    written = {name: getattr(wrapper, name) for name in (*_CHATS, UPLOAD) if _defines(kind, name)}
    methods = {
        name: Method(each, _blocks(each, return_annotation(each)), given_to(each))
        for name, each in written.items()
    }
    opened = opening(entry.arguments.schema) if methods.keys() <= {UPLOAD} else None
    return Chat(methods, Method(entry.function, entry.blocking), entry.arguments.decode, opened)


def _manifest(name: str, entry: Entry, options: Options, chat: Chat) -> Manifest:
    warnings = [*entry.arguments.warnings]
    description = options.description or entry.documentation.description
    if not description:
        warnings.append("there is no docstring: say what the pipeline does, what it needs and what it gives")
        description = f"Runs the pipeline {name}."
    gives = entry.promise.schema if entry.promise else output_schema(entry.returns)
    tool = tool_of(name, options, description, entry.arguments.schema, gives)
    return Manifest(
        kind="wrapper",
        tool=tool,
        blocking=entry.blocking,
        streams=entry.streams,
        asks=entry.asks,
        warnings=tuple(warnings),
        verbs=chat.verbs,
    )


class WrapperPipeline:
    """A loaded wrapper; `wrapper` is the author's object, with every method it defines."""

    def __init__(
        self,
        manifest: Manifest,
        entry: Entry,
        wrapper: Any,
        modules: Modules,
        publications: Publications,
        chat: Chat,
    ) -> None:
        self.manifest = manifest
        self.wrapper = wrapper
        self.holder: object = getattr(wrapper, "__dict__", None)
        self._function = entry.function
        self._arguments = entry.arguments
        self._promise = entry.promise
        self._text = is_text_stream(entry.returns)
        self._modules = modules
        self._publications = publications
        self._chat = chat

    def prepare(self, run: Run) -> Work:
        """See `Pipeline.prepare`."""
        if run.verb in ("chat", "upload"):
            return self._chat.prepare(run)
        if run.verb != "call":
            return self._publications.prepare(run)
        return Work(self.manifest.blocking, partial(self.call, run.inputs))

    def call(self, arguments: Json, context: Context) -> Any:
        """The value, or if it is no blocking pipeline an awaitable of it."""
        if not self.manifest.blocking:
            return self._call_async(arguments, context)
        while asked := self._asked(value := self._whole(arguments, context), context):
            context.hear(context.ask_parked(asked))
        return self._kept(value)

    async def _call_async(self, arguments: Json, context: Context) -> Any:
        while True:
            value = self._function(**self._arguments.decode(arguments, context))
            value = await whole_async(value, context, text=self._text)
            if not self.manifest.asks or not (asked := self._asked(value, context)):
                return value if self._promise is None else self._promise.kept(value)
            context.hear(await context.ask_parked(asked))

    def _whole(self, arguments: Json, context: Context) -> Any:
        value = self._function(**self._arguments.decode(arguments, context))
        return whole(value, context, text=self._text)

    def _asked(self, value: Any, context: Context) -> Mapping[str, Ask]:
        """The questions that it returned, if it says that it may. Raises `RuntimeError` if they never end."""
        if not self.manifest.asks:
            return {}
        asked = questions_in(value)
        if asked and context.rounds >= MOST:
            raise RuntimeError(f"the pipeline returned questions {MOST} times in one run")
        return asked

    def _kept(self, value: Any) -> Any:
        return self._promise.kept(value) if self._promise else value

    def close(self) -> None:
        """Call the wrapper's `teardown`, raise what it raises; its modules are forgotten in any case."""
        try:
            if teardown := getattr(self.wrapper, "teardown", None):
                teardown()
        finally:
            self._modules.close()
