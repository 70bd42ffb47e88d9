"""Fast pipelines give what Haystack's own give: the same results, calls, changes and errors."""

from __future__ import annotations

import asyncio
import copy
import os
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from haystack import Document, Pipeline, SuperComponent, component, tracing
from haystack.components.builders import AnswerBuilder, ChatPromptBuilder, PromptBuilder
from haystack.components.generators.chat import MockChatGenerator
from haystack.components.joiners import BranchJoiner, DocumentJoiner
from haystack.components.preprocessors import DocumentCleaner, DocumentSplitter
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.components.routers import ConditionalRouter
from haystack.core.component.types import Variadic
from haystack.core.errors import BreakpointException, PipelineError
from haystack.core.pipeline.utils import _deepcopy_with_exceptions
from haystack.dataclasses import ByteStream, ChatMessage, GeneratedAnswer
from haystack.dataclasses.breakpoints import Breakpoint, PipelineSnapshot
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.document_stores.types import DuplicatePolicy
from haystack.tools import Tool
from haystack.tracing.tracer import NullTracer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_server.content import render
from mcp_server.models import Caller, Run
from mcp_server.pipelines import load
from mcp_server.pipelines.context import Context, current
from mcp_server.pipelines.copying import copied
from mcp_server.pipelines.fast import FastPipeline, fits
from mcp_server.pipelines.hastening import hasten

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[2] / "examples" / "pipelines"
ROUNDS = int(os.environ.get("FAST_PIPELINES_ROUNDS", "120"))
"""How many pipelines are drawn; the long form takes thousands."""


@component
class Part:
    """Does one of several things to lists, and tells what it got."""

    def __init__(self, kind: str, told: list[Any], name: str) -> None:
        self.kind, self.told, self.name = kind, told, name
        types: dict[str, Any] = {"value": list[Any]}
        if kind == "merge":
            types = {"value": Variadic[list[Any]]}
        component.set_input_types(self, **types)
        if kind == "patient":
            component.set_input_type(self, "extra", list[Any], None)
        left = ("left", "right") if kind == "route" else ("value",)
        component.set_output_types(self, **dict.fromkeys(left, list[Any]))

    def run(self, **inputs: Any) -> Any:
        self.told.append((self.name, copy.deepcopy(inputs)))
        value = inputs["value"]
        match self.kind:
            case "change":
                value.append({"in": [self.name]})
            case "deeper":
                for each in value:
                    if isinstance(each, dict):
                        each.setdefault("in", []).append(self.name)
                value += [len(value)]
            case "merge":
                value = [each for part in value for each in part]
            case "route":
                return {"left" if len(value) % 2 else "right": value}
            case "fail" if len(value) % 3 == 0:
                raise KeyError(self.name)
            case "wrong" if len(value) > 5:
                return None
            case "undeclared":
                return {"value": value, "more": 1}
            case "patient":
                value = value + (inputs.get("extra") or [])
            case _:
                pass
        return {"value": value}


@component
class AsyncPart(Part):
    async def run_async(self, **inputs: Any) -> Any:
        await asyncio.sleep(0)
        return self.run(**inputs)


KINDS = ("pass", "change", "deeper", "merge", "route", "fail", "wrong", "undeclared", "patient", "join")
Recipe = SimpleNamespace


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Components, connections that may be refused or close loops, inputs that may not fit."""
    count = draw(st.integers(1, 7))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=count, max_size=count))
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1), st.booleans(), st.booleans())
    forward = [(place, place + 1, draw(st.booleans()), False) for place in range(count - 1)]
    edges = forward + draw(st.lists(ends, max_size=count))
    values = st.lists(st.one_of(st.integers(0, 3), st.just({"in": []})), max_size=4)
    inputs = draw(st.dictionaries(st.integers(0, count), values, max_size=3))
    return Recipe(
        kinds=kinds,
        edges=edges,
        native=draw(st.lists(st.booleans(), min_size=count, max_size=count)),
        inputs={0: draw(values), **inputs},
        flat=draw(st.sampled_from([False, False, False, True])),
        included=draw(st.sets(st.integers(0, count - 1), max_size=2)),
    )


def built(recipe: Recipe, told: list[Any], *, native: bool = False) -> Pipeline:
    """The pipeline; all its components are `native`, or as the recipe has them: threads run in any order."""
    pipeline = Pipeline(max_runs_per_component=4)
    for place, kind in enumerate(recipe.kinds):
        name = f"c{place}"
        made = AsyncPart if native or recipe.native[place] else Part
        pipeline.add_component(name, BranchJoiner(list[Any]) if kind == "join" else made(kind, told, name))
    for sender, receiver, left, extra in recipe.edges:
        output = "value" if recipe.kinds[sender] != "route" else "left" if left else "right"
        sockets = pipeline.graph.nodes[f"c{receiver}"]["input_sockets"]
        with suppress(PipelineError):
            pipeline.connect(
                f"c{sender}.{output}", f"c{receiver}.{'extra' if extra and 'extra' in sockets else 'value'}"
            )
    return pipeline


def outcome(run: Callable[[], Any]) -> Any:
    """What came of it, in a form that can be compared."""
    try:
        return "gave", run()
    except Exception as error:  # whatever it is, it must be the same
        cause = error.__cause__
        snapshot = getattr(error, "pipeline_snapshot", None)
        state = snapshot.to_dict() if snapshot else {}
        state.pop("timestamp", None)
        return type(error), str(error), type(cause), str(cause), state


def both(make: Callable[[list[Any]], Pipeline], run: Callable[[Pipeline], Any], times: int = 2) -> list[Any]:
    """What Haystack's own pipeline does, and what the same one does once it is fast, several times."""
    found: list[Any] = []
    for fast in (False, True):
        told: list[Any] = []
        pipeline = make(told)
        if fast:
            hasten(pipeline)
            assert type(pipeline) is FastPipeline
        found.append([outcome(partial(run, pipeline)) for _ in range(times)] + [told])
    return found


@settings(max_examples=ROUNDS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(recipe=recipes())
def test_any_pipeline_gives_the_same_fast(recipe: Recipe) -> None:
    def data() -> Any:
        if recipe.flat:
            return {"value": copy.deepcopy(recipe.inputs[0])}
        return {f"c{place}": {"value": copy.deepcopy(value)} for place, value in recipe.inputs.items()}

    def run(pipeline: Pipeline, later: bool) -> Any:
        given, included = data(), {f"c{place}" for place in recipe.included}
        if later:
            return asyncio.run(pipeline.run_async(given, included)), given
        return pipeline.run(given, included), given

    plain, fast = both(partial(built, recipe), partial(run, later=False))
    assert fast == plain
    for _ in range(50):  # of siblings that end together, any may be first: Haystack keeps them in a set
        plain, fast = both(partial(built, recipe, native=True), partial(run, later=True), times=1)
        if fast == plain:
            break
    assert fast == plain


def documents(count: int) -> list[Document]:
    return [Document(content=f"tea number {n} is green", meta={"n": n, "of": ["a"]}) for n in range(count)]


def rag(told: list[Any]) -> Pipeline:
    store = InMemoryDocumentStore(shared=False)
    store.write_documents(documents(20))
    pipeline = Pipeline()
    pipeline.add_component("words", InMemoryBM25Retriever(store, top_k=3))
    pipeline.add_component("more", InMemoryBM25Retriever(store, top_k=5))
    pipeline.add_component("joined", DocumentJoiner("reciprocal_rank_fusion"))
    template = "{% for d in documents %}{{ d.content }} {% endfor %}{{ question }}"
    pipeline.add_component("prompt", ChatPromptBuilder([ChatMessage.from_user(template)]))
    pipeline.add_component("llm", MockChatGenerator(response_fn=lambda messages: messages[-1].text[-40:]))
    pipeline.add_component("answer", AnswerBuilder())
    pipeline.connect("words", "joined.documents")
    pipeline.connect("more", "joined.documents")
    pipeline.connect("joined", "prompt.documents")
    pipeline.connect("joined", "answer.documents")
    pipeline.connect("prompt", "llm.messages")
    pipeline.connect("llm.replies", "answer.replies")
    return pipeline


def loop(told: list[Any]) -> Pipeline:
    routes = [
        {
            "condition": "{{ text|length > 30 }}",
            "output": "{{ text }}",
            "output_name": "done",
            "output_type": str,
        },
        {"condition": "{{ True }}", "output": "{{ text }}", "output_name": "again", "output_type": str},
    ]
    pipeline = Pipeline()
    pipeline.add_component("start", BranchJoiner(str))
    pipeline.add_component("prompt", PromptBuilder("more {{ text }}"))
    pipeline.add_component("route", ConditionalRouter(routes))
    pipeline.connect("start", "prompt.text")
    pipeline.connect("prompt", "route.text")
    pipeline.connect("route.again", "start")
    return pipeline


def nested(told: list[Any]) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("clean", DocumentCleaner())
    pipeline.add_component("split", DocumentSplitter(split_by="word", split_length=2, split_overlap=0))
    pipeline.connect("clean", "split")
    outer = Pipeline()
    outer.add_component("inner", SuperComponent(pipeline, {"documents": ["clean.documents"]}))
    outer.add_component("joined", DocumentJoiner())
    outer.connect("inner.documents", "joined.documents")
    return outer


INPUTS: list[tuple[Callable[[list[Any]], Pipeline], Any]] = [
    (
        rag,
        {
            "words": {"query": "tea 7"},
            "more": {"query": "green"},
            "prompt": {"question": "?"},
            "answer": {"query": "?"},
        },
    ),
    (rag, {"query": "tea number 5", "question": "which?"}),
    (rag, {"words": {"query": "tea"}}),
    (loop, {"start": {"value": "tea"}}),
    (loop, {"value": "tea"}),
    (nested, {"inner": {"documents": documents(3)}}),
    (nested, {"joined": {"top_k": 1}, "inner": {"documents": documents(2)}}),
]


@pytest.mark.parametrize(("make", "data"), INPUTS)
@pytest.mark.parametrize("later", [False, True])
def test_pipelines_of_haystacks_components_give_the_same_fast(
    make: Callable[[list[Any]], Pipeline], data: Any, later: bool
) -> None:
    def run(pipeline: Pipeline) -> Any:
        given = copy.deepcopy(data)
        return asyncio.run(pipeline.run_async(given)) if later else pipeline.run(given)

    plain, fast = both(make, run)
    assert fast == plain


def test_a_fast_pipeline_pauses_and_goes_on_as_haystacks_does() -> None:
    def run(pipeline: Pipeline) -> Any:
        data = {
            "words": {"query": "tea"},
            "more": {"query": "tea"},
            "prompt": {"question": "?"},
            "answer": {"query": "?"},
        }
        with pytest.raises(BreakpointException) as paused:
            pipeline.run(data, break_point=Breakpoint("prompt", 0))
        snapshot = paused.value.pipeline_snapshot
        assert snapshot is not None
        return pipeline.run({}, pipeline_snapshot=PipelineSnapshot.from_dict(snapshot.to_dict()))

    plain, fast = both(rag, run)
    assert plain[0][0] == "gave"
    assert fast == plain


def test_a_component_may_change_what_it_gets() -> None:
    mine = documents(2)
    pipeline = FastPipeline()
    pipeline.add_component("first", Part("deeper", [], "first"))
    pipeline.add_component("second", Part("change", [], "second"))
    given = [{"in": []}, mine]
    both_get = {"first": {"value": given}, "second": {"value": given}}
    result = pipeline.run(both_get)
    assert result["first"]["value"][0] == {"in": ["first"]}
    assert result["second"]["value"][0] == {"in": []}
    assert given == [{"in": []}, mine]


class Held:
    """An object of an author."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and vars(self) == vars(other)


class Slotted:
    __slots__ = ("value",)


class Frozen(Held):
    def __deepcopy__(self, memory: object) -> Frozen:
        return self


class Uncopied(Held):
    def __reduce__(self) -> Any:
        raise TypeError("not me")


SHARED = [1, [2]]
VALUES: list[Any] = [
    *(1, "a", 1.5, None, True, b"b", len, Held, {"a": 1}, [1, [2, {"b": (1, [2])}]], {1, 2}, ({3: [4]},)),
    *documents(2),
    Document(content="a", embedding=[0.1, 0.2], blob=ByteStream(b"x", meta={"y": [1]})),
    ChatMessage.from_user("hello", meta={"a": [1]}),
    GeneratedAnswer(data="a", query="b", documents=documents(1), meta={"c": {}}),
    Held(one=SHARED, two=SHARED, held=Held(three=SHARED)),
    [SHARED, SHARED],
    Held(run=[1]),
    Frozen(a=[1]),
    Uncopied(a=[1]),
    Held(inner=Uncopied(a=[1])),
    Held(tool=Tool("a", "b", {"type": "object", "properties": {}}, len)),
    Tool("a", "b", {"type": "object", "properties": {}}, len),
    Part("pass", [], "a"),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_copy_is_what_haystack_would_copy(value: Any) -> None:
    mine, own = copied(value), _deepcopy_with_exceptions(value)
    assert type(mine) is type(own)
    assert same_objects(mine, value) == same_objects(own, value)
    if not isinstance(value, Tool | Part) and "tool" not in getattr(value, "__dict__", {}):
        assert mine == value


def same_objects(copied: Any, value: Any) -> list[Any]:
    """For each thing inside: whether the copy has the very same object, and which things are one."""
    found = [*inside(copied, 0)]
    numbers = {id(each): place for place, each in reversed([*enumerate(found)])}
    pairs = zip(found, inside(value, 0), strict=True)
    return [
        (numbers[id(one)], one is other)
        for one, other in pairs
        if isinstance(other, list | dict | Held | Document)
    ]


def inside(value: Any, depth: int) -> list[Any]:
    if depth > 6 or isinstance(value, str | bytes | Tool | Part | type):
        return [value]
    parts: list[Any] = []
    if isinstance(value, Mapping):
        parts = [*value.values()]
    elif isinstance(value, list | tuple | set):
        parts = [*value]
    elif hasattr(value, "__dict__") and not callable(value):
        parts = [*vars(value).values()]
    return [value, *(each for part in parts for each in inside(part, depth + 1))]


def test_a_copy_of_what_holds_itself_fails_as_haystacks_does() -> None:
    ring: list[Any] = []
    ring.append(ring)
    for copy_of in (copied, _deepcopy_with_exceptions):
        with pytest.raises(RecursionError):
            copy_of(ring)
    held = Held()
    held.itself = held
    assert (made := copied(held)) is not held and made.itself is made


@component
class Warm:
    """Counts how often it was warmed up."""

    def __init__(self) -> None:
        self.warmed = self.warmed_on_loop = 0

    def warm_up(self) -> None:
        self.warmed += 1

    async def warm_up_async(self) -> None:
        self.warmed_on_loop += 1

    @component.output_types(value=int)
    def run(self, value: int) -> dict[str, int]:
        return {"value": value}


async def test_a_fast_pipeline_warms_up_once_and_again_after_it_was_closed_or_changed() -> None:
    warm, late = Warm(), Warm()
    pipeline = FastPipeline()
    pipeline.add_component("warm", warm)
    for _ in range(3):
        pipeline.run({"warm": {"value": 1}})
        await pipeline.run_async({"warm": {"value": 1}})
    assert (warm.warmed, warm.warmed_on_loop) == (1, 1)
    pipeline.close()
    pipeline.run({"warm": {"value": 1}})
    pipeline.add_component("late", late)
    pipeline.connect("warm", "late")
    assert pipeline.run({"warm": {"value": 1}}) == {"late": {"value": 1}}
    assert (warm.warmed, late.warmed) == (3, 1)


def test_a_fast_pipeline_is_traced_as_any_other() -> None:
    spans: list[str] = []

    class Tracer(tracing.Tracer):
        def trace(self, operation_name: str, tags: Any = None, parent_span: Any = None) -> Any:
            spans.append((tags or {}).get("haystack.component.name", operation_name))
            return NullTracer().trace(operation_name)

        def current_span(self) -> Any:
            return None

    tracing.enable_tracing(Tracer())
    try:
        plain, fast = both(loop, lambda pipeline: pipeline.run({"value": "tea"}))
    finally:
        tracing.disable_tracing()
    assert fast == plain and plain[0][0] == "gave"
    assert spans[: len(spans) // 2] == spans[len(spans) // 2 :] and "route" in spans


def test_a_fast_pipeline_is_equal_to_the_one_it_was() -> None:
    fast, again = loop([]), Pipeline()
    text = fast.to_dict()
    hasten(fast)
    assert fast.to_dict() == text
    assert (
        fast == loop([])
        and loop([]) == fast
        and fast != again
        and again == FastPipeline()
        and FastPipeline() == again
    )
    assert fits()


class Own(Pipeline):
    """A pipeline class of an author."""


def test_every_pipeline_that_can_be_found_becomes_fast_but_no_class_of_an_author() -> None:
    inner = nested([])
    own = Own()
    own.add_component("inner", SuperComponent(loop([])))
    holder = SimpleNamespace(pipeline=inner, others=[loop([])], named={"rag": rag([])}, own=own)
    hasten(vars(holder))
    kinds = [type(each) for each in (holder.pipeline, holder.others[0], holder.named["rag"], own)]
    assert kinds == [FastPipeline, FastPipeline, FastPipeline, Own]
    assert type(inner.get_component("inner").pipeline) is FastPipeline
    assert type(own.get_component("inner").pipeline) is FastPipeline


ORDER = {
    "customer": "Ada",
    "address": {"street": "Lane 1", "city": "London", "country": "GB"},
    "items": [{"article": "pen", "price": "1.20", "quantity": 3}],
    "ordered": "2024-02-20",
}
CALLS: dict[str, dict[str, Any]] = {
    "agent": {"question": "How much is 12 * (3 + 4)?"},
    "article": {"step": "angles", "inputs": {"source_material": "Tea."}, "outputs": {}, "feedback": None},
    "assistant": {"request": "Tell Ada that lunch is at noon."},
    "eliza": {"message": "I am sad about my exams."},
    "index_python_docs": {"modules": ["anyio"]},
    "python_docs": {"question": "which function reads a line from a file?"},
    "rag": {"question": "What is MCP?"},
    "split_files": {"files": [{"name": "a.txt", "text": "word " * 300}, {"text": "short"}]},
    "streaming": {"start": 3},
    "typed": {"order": ORDER, "note": {"name": "note.txt", "text": "Thank you!"}},
    "upload": {"question": "when?", "files": [{"name": "plan.txt", "text": "The bus leaves at nine."}]},
}
SECONDS = re.compile(rb'"seconds":[0-9.e-]+')
"""What no two runs have in common."""


READLINE = Document(
    id="readline",
    content="Read a line from a file.",
    meta={"name": "f.readline", "signature": "()", "summary": "Read a line.", "module": "io"},
)


def yes(requests: Mapping[str, Any], *, parks: bool = False) -> Future[Mapping[str, Any]]:
    """A person who agrees to everything."""
    agreed: Future[Mapping[str, Any]] = Future()
    agreed.set_result({key: {"action": "accept", "content": {}} for key in requests})
    return agreed


def test_every_example_is_called() -> None:
    assert sorted(CALLS) == sorted(path.stem for path in EXAMPLES.iterdir() if path.name[0] not in "._")


@pytest.mark.parametrize("name", sorted(CALLS))
async def test_an_example_gives_the_same_fast(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)  # with one, some ask a real model
    root = EXAMPLES / name
    if not root.is_dir():
        root = Path(shutil.copy(root.with_suffix(".yml"), tmp_path)).parent
    pipeline: Any = load(name, root)
    verb = "step" if name == "article" else "call"
    run = Run(id="1", pipeline=name, version=1, digest="", inputs=CALLS[name], timeout=60, verb=verb)
    if name == "python_docs":
        pipeline.holder["store"].write_documents([READLINE], DuplicatePolicy.OVERWRITE)
    given: list[Any] = []
    for fast in (False, True):
        if fast:
            hasten(pipeline.holder)
        told: list[Any] = []
        work = pipeline.prepare(run)
        context = Context(
            "run", Caller(), lambda event, told=told: told.append(plain_event(event)), None, yes
        )
        current.set(context)
        value = await asyncio.to_thread(work.call, context) if work.blocking else await work.call(context)
        result = render(value)
        given.append((SECONDS.sub(b"", result.structured or b""), result.is_error, told))
    await asyncio.to_thread(pipeline.close)
    assert given[0] == given[1] and not given[0][1]


def plain_event(event: Any) -> dict[str, Any]:
    """What a run tells, without when."""
    return event.model_dump(exclude={"seconds", "started"})
