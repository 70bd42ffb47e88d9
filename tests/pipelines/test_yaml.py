"""A Haystack YAML becomes a tool: what goes in, what comes out, and what its author is told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import orjson
import pytest
from haystack import Document, Pipeline
from haystack import component as haystack_component
from haystack.components.agents import Agent
from haystack.components.builders import AnswerBuilder, ChatPromptBuilder, PromptBuilder
from haystack.components.converters import OutputAdapter, TextFileToDocument
from haystack.components.embedders import MockTextEmbedder
from haystack.components.fetchers import LinkContentFetcher
from haystack.components.generators.chat import MockChatGenerator
from haystack.components.joiners import BranchJoiner, DocumentJoiner
from haystack.components.retrievers.in_memory import InMemoryBM25Retriever
from haystack.components.routers import ConditionalRouter
from haystack.components.validators import JsonSchemaValidator
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ChatMessage
from haystack.document_stores.in_memory import InMemoryDocumentStore
from haystack.tools import Tool

from mcp_server.content import render
from mcp_server.errors import Broken, Invalid
from mcp_server.models import Caller, Chunk, Event
from mcp_server.pipelines import load
from mcp_server.pipelines.composed import compose
from mcp_server.pipelines.context import Context, Stopped
from mcp_server.pipelines.exposure import arguments_in
from mcp_server.pipelines.yaml import YamlPipeline, claims

pytestmark = pytest.mark.anyio

QUESTION = "{% for document in documents %}{{ document.content }} {% endfor %}{{ query }} in {{ language }}?"
INPUTS = """
inputs:
  question: [retriever.query, prompt.query]
  language: prompt.language
"""
OUTPUTS = """
outputs:
  replies: llm.replies
  sources: retriever.documents
"""


@pytest.fixture
def rag() -> str:
    """Retriever, prompt and a generator that echoes, as Haystack writes them; with two documents."""
    store = InMemoryDocumentStore(index=uuid.uuid4().hex)
    store.write_documents([Document(content="Rome is in Italy."), Document(content="Paris is in France.")])
    pipeline = Pipeline()
    pipeline.add_component("retriever", InMemoryBM25Retriever(store, top_k=1))
    pipeline.add_component("prompt", ChatPromptBuilder([ChatMessage.from_user(QUESTION)]))
    pipeline.add_component("llm", MockChatGenerator())
    pipeline.connect("retriever.documents", "prompt.documents")
    pipeline.connect("prompt.prompt", "llm.messages")
    return pipeline.dumps()


@pytest.fixture
def loaded(tmp_path: Path) -> Callable[[Pipeline | str], YamlPipeline]:
    def loaded(pipeline: Pipeline | str) -> YamlPipeline:
        text = pipeline if isinstance(pipeline, str) else pipeline.dumps()
        (tmp_path / "it.yml").write_text(text, encoding="utf-8")
        found = load("it", tmp_path)
        assert isinstance(found, YamlPipeline)
        return found

    return loaded


Loaded = Callable[[Pipeline | str], YamlPipeline]


def single(**components: Any) -> Pipeline:
    pipeline = Pipeline()
    for name, component in components.items():
        pipeline.add_component(name, component)
    return pipeline


def context(events: list[Event] | None = None) -> Context:
    return Context("run", Caller(), [].append if events is None else events.append)


def properties(pipeline: YamlPipeline) -> dict[str, Any]:
    return pipeline.manifest.tool["inputSchema"]["properties"]


async def called(pipeline: YamlPipeline, arguments: dict[str, Any], events: list[Event] | None = None) -> Any:
    """The structured answer, which must keep what the output schema promises."""
    jsonschema_rs.validate(pipeline.manifest.tool["inputSchema"], arguments)
    with anyio.fail_after(20):
        if pipeline.manifest.blocking:
            value = await anyio.to_thread.run_sync(pipeline.call, arguments, context(events))
        else:
            value = await pipeline.call(arguments, context(events))
    structured = orjson.loads(render(value).structured or b"null")
    jsonschema_rs.validate(pipeline.manifest.tool.get("outputSchema", {}), structured)
    return structured


def refusal(pipeline: Pipeline | str, loaded: Loaded) -> str:
    with pytest.raises(Broken) as refused:
        loaded(pipeline)
    return str(refused.value)


def line(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


# What is offered


async def test_without_a_mapping_what_must_be_given_and_what_is_safe_is_offered(
    rag: str, loaded: Loaded
) -> None:
    pipeline = loaded(rag)
    schema = pipeline.manifest.tool["inputSchema"]
    assert sorted(schema["properties"]) == ["filters", "language", "query", "scale_score", "top_k"]
    assert sorted(schema["required"]) == ["language", "query"]
    assert schema["additionalProperties"] is False
    answer = await called(pipeline, {"query": "Where is Rome", "language": "Latin"})
    assert answer["llm"]["replies"][0]["content"] == "Rome is in Italy. Where is Rome in Latin?"


def test_descriptions_come_from_the_components_or_say_where_a_value_goes(rag: str, loaded: Loaded) -> None:
    told = {name: each["description"] for name, each in properties(loaded(rag)).items()}
    assert told["query"] == "The query string for the Retriever."
    assert told["top_k"].startswith("The maximum number of documents")
    assert told["language"] == "Goes to `prompt.language`."


def test_without_words_of_the_author_the_tool_says_what_it_runs(rag: str, loaded: Loaded) -> None:
    tool = loaded(rag).manifest.tool
    assert (
        tool["description"] == "Runs the Haystack pipeline: retriever → prompt → llm. Answers: llm.replies."
    )
    assert tool["title"] == "it"


def test_the_words_of_the_author_are_the_tools(rag: str, loaded: Loaded) -> None:
    tool = loaded(
        f"{rag}\n".replace("metadata: {}", "metadata: {description: Answers., mcp: {read_only: true}}")
    ).manifest.tool
    assert tool["description"] == "Answers."
    assert tool["annotations"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": False,
        "openWorldHint": True,
    }


async def test_a_mapping_names_arguments_and_answers(rag: str, loaded: Loaded) -> None:
    pipeline = loaded(rag + INPUTS + OUTPUTS)
    assert list(properties(pipeline)) == ["question", "language"]
    assert list(pipeline.manifest.tool["outputSchema"]["properties"]) == ["replies", "sources"]
    answer = await called(pipeline, {"question": "Where is Paris", "language": "French"})
    assert answer["replies"][0]["content"].startswith("Paris is in France.")
    assert answer["sources"][0]["content"] == "Paris is in France."


async def test_prompt_variables_get_the_type_the_template_gives_them(loaded: Loaded) -> None:
    template = (
        "{{ name | upper }}{% if name %}!{% endif %}{% for item in items %}{{ item.a }}{% endfor %}"
        "{{ thing.x }}{{ words | join(',') }}{% if flag %}{{ 1 + number }}{% endif %}{{ items | length }}"
    )
    pipeline = loaded(single(prompt=PromptBuilder(template)))
    assert {name: each.get("type") for name, each in properties(pipeline).items()} == {
        "name": "string",
        "items": "array",
        "words": "array",
        "thing": None,
        "number": None,
        "flag": None,
    }
    given = {
        "name": "a",
        "items": [{"a": 1}],
        "thing": {"x": 2},
        "words": ["b", "c"],
        "number": 3,
        "flag": True,
    }
    assert (await called(pipeline, given)) == {"prompt": {"prompt": "A!12b,c41"}}


def test_a_prompt_written_as_messages_in_one_template_is_understood(loaded: Loaded) -> None:
    prompt = ChatPromptBuilder('{% message role="user" %}Hello {{ name }}{% endmessage %}')
    assert properties(loaded(single(prompt=prompt)))["name"]["type"] == "string"


def test_the_schema_is_the_same_in_every_process(rag: str, tmp_path: Path) -> None:
    (tmp_path / "it.yml").write_text(rag, encoding="utf-8")
    code = (
        "import sys, json, pathlib; from mcp_server.pipelines import load;"
        "print(json.dumps(load('it', pathlib.Path(sys.argv[1])).manifest.tool))"
    )
    tools = {
        subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(tools) == 1


async def test_sockets_of_one_name_and_type_are_one_argument(loaded: Loaded) -> None:
    pipeline = loaded(single(prompt=PromptBuilder("Read {{ text }}"), embedder=MockTextEmbedder(dimension=2)))
    assert list(properties(pipeline)) == ["text"]
    answer = await called(pipeline, {"text": "this"})
    assert answer["prompt"]["prompt"] == "Read this" and len(answer["embedder"]["embedding"]) == 2


def test_sockets_of_one_name_and_different_types_are_told_apart_by_component(loaded: Loaded) -> None:
    pipeline = single(other=BranchJoiner(int))
    pipeline.add_component("my-list", BranchJoiner(list[str]))
    offered = properties(loaded(pipeline))
    assert {name: each["type"] for name, each in offered.items()} == {
        "other_value": "integer",
        "my_list_value": "array",
    }


def test_sockets_that_are_unsafe_in_a_callers_hands_are_not_offered(loaded: Loaded) -> None:
    pipeline = single(prompt=ChatPromptBuilder([ChatMessage.from_user("{{ a }}")]), llm=MockChatGenerator())
    pipeline.add_component("answer", AnswerBuilder())
    assert set(properties(loaded(pipeline))) == {
        "a",
        "messages",
        "query",
        "replies",
        "meta",
        "documents",
        "expand_reference_ranges",
    }


def test_filters_an_author_has_set_cannot_be_lifted_by_a_caller(loaded: Loaded) -> None:
    own = {"field": "meta.owner", "operator": "==", "value": "me"}
    retriever = InMemoryBM25Retriever(InMemoryDocumentStore(shared=False), filters=own)
    assert "filters" not in properties(loaded(single(retriever=retriever)))


async def test_files_come_by_their_content_never_by_path(loaded: Loaded) -> None:
    pipeline = loaded(single(converter=TextFileToDocument()))
    assert properties(pipeline)["sources"]["items"]["properties"].keys() >= {"text", "data", "name"}
    answer = await called(pipeline, {"sources": [{"text": "hello", "name": "a/b.txt"}]})
    document = answer["converter"]["documents"][0]
    assert (document["content"], document["meta"]["file_path"]) == ("hello", "b.txt")
    with pytest.raises(Invalid, match="sources"):
        pipeline.call({"sources": ["/etc/passwd"]}, context())


def test_a_socket_that_fetches_addresses_needs_the_authors_word(loaded: Loaded) -> None:
    text = single(fetcher=LinkContentFetcher()).dumps()
    told = refusal(text, loaded)
    assert told.startswith(f"it.yml, line {line(text, 'fetcher:')}: `fetcher.urls` must be given, but")
    assert properties(loaded(f"{text}\ninputs: {{pages: fetcher.urls}}\n"))["pages"]["type"] == "array"


@haystack_component
class Reader:
    """Reads a file."""

    @haystack_component.output_types(text=str)
    def run(self, query: str, file_path: str = "", base_url: str = "") -> dict[str, str]:
        return {"text": query + file_path + base_url}


def test_a_socket_named_after_a_place_needs_the_authors_word(loaded: Loaded) -> None:
    def offered(pipeline: Pipeline, text: bytes = b"components: {}") -> list[str]:
        return [given.name for given in arguments_in(pipeline, compose(text, "it.yml"))]

    assert offered(single(reader=Reader())) == ["query"]
    assert "file" in offered(single(reader=Reader()), b"inputs: {file: reader.file_path, q: reader.query}")
    assert offered(single(prompt=PromptBuilder("At {{ file_path }}"))) == ["file_path"]


# What an author is told


@pytest.mark.parametrize(
    ("mapping", "at", "told"),
    [
        ("inputs: {q: nothing.query}", "inputs:", "there is no component `nothing`; there are "),
        ("inputs: {q: retriever.text}", "inputs:", "`retriever` has no input `text`; it has query, "),
        ("inputs: {q: llm.messages}", "inputs:", "`llm.messages` is fed by another component"),
        (
            "inputs: {q: [retriever.query, retriever.top_k]}",
            "inputs:",
            "`q` feeds sockets of different types: str, int",
        ),
        ("inputs: {q: retriever.query}", "inputs:", "nothing feeds `prompt."),
        ("inputs:\n  q: 3", "  q: 3", "`q` must be a `component.socket`"),
        ("inputs:\n  a-b: retriever.query", "  a-b", "`a-b` is no name: use letters, digits and `_`"),
        ("inputs: [retriever.query]", "inputs:", "`inputs` must be a mapping"),
        ("inputs: {q: llm.streaming_callback}", "inputs:", "`q`: nothing in "),
        ("outputs: {a: llm.text}", "outputs:", "`llm` has no output `text`; it has replies"),
        ("outputs: {a: [llm.replies, prompt.prompt]}", "outputs:", "`a` must name one `component.socket`"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told_with_its_line(
    mapping: str, at: str, told: str, rag: str, loaded: Loaded
) -> None:
    text = f"{rag}\n{mapping}\n"
    assert refusal(text, loaded).startswith(f"it.yml, line {line(text, at)}: {told}")


@pytest.mark.parametrize(
    ("change", "at", "told"),
    [
        (
            ("InMemoryBM25Retriever", "Nope"),
            "retriever:",
            "there is no component class `haystack.components.",
        ),
        (
            ("haystack.components.retrievers", "haystack_integrations.components.retrievers.x_y"),
            "retriever:",
            "`haystack_integrations.components.retrievers.x_y.in_memory.bm25_retriever."
            "InMemoryBM25Retriever` is not installed: `pip install x-y-haystack`",
        ),
        (
            ("haystack.components.retrievers", "os.path"),
            "retriever:",
            "a YAML may not load from the module `os.path.in_memory",
        ),
        (("top_k:", "top_q:"), "retriever:", "loading `retriever` raised TypeError: "),
        (("type: haystack.components.gen", "kind: gen"), "  llm:", "`llm` must have a `type`: the full path"),
        (
            ("receiver: llm.messages", "receiver: lama.messages"),
            "receiver: lama",
            "there is no component for `lama.messages`",
        ),
        (("receiver: llm.messages", "receiver: llm.nope"), "receiver: llm.nope", "'llm.nope does not exist"),
        (
            ("receiver: llm.messages", "to: llm.messages"),
            "to: llm.messages",
            "a connection must have a `receiver`",
        ),
        (
            ("components:", "components: []\nother:"),
            "components:",
            "`components` must name at least one component",
        ),
    ],
)
def test_what_haystack_refuses_is_told_at_the_component_or_connection(
    change: tuple[str, str], at: str, told: str, rag: str, loaded: Loaded
) -> None:
    text = rag.replace(*change)
    assert refusal(text, loaded).startswith(f"it.yml, line {line(text, at)}: {told}")


def test_a_socket_that_no_caller_can_fill_refuses_the_deploy(loaded: Loaded) -> None:
    text = single(joiner=BranchJoiner(Tool)).dumps()
    assert (
        refusal(text, loaded)
        == "it.yml, line 2: `joiner.value` must be given, but Tool cannot be an argument"
    )


def test_unmet_requirements_are_told(rag: str, tmp_path: Path, loaded: Loaded) -> None:
    (tmp_path / "requirements.txt").write_text("no-such-distribution>=1\n")
    assert "pip install" in refusal(rag, loaded)


def test_a_folder_with_two_pipelines_is_not_claimed(rag: str, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(rag)
    assert claims(tmp_path) == tmp_path / "a.yml"
    (tmp_path / "b.yaml").write_text(rag)
    assert claims(tmp_path) is None


# How it runs


async def test_text_is_streamed_under_the_components_name(rag: str, loaded: Loaded) -> None:
    events: list[Event] = []
    answer = await called(loaded(rag), {"query": "Where is Rome", "language": "Latin"}, events)
    chunks = [event for event in events if isinstance(event, Chunk)]
    assert len(chunks) > 1 and {chunk.source for chunk in chunks} == {"llm"}
    assert "".join(chunk.text for chunk in chunks) == answer["llm"]["replies"][0]["content"]


@pytest.mark.parametrize("component", [MockChatGenerator(), Agent(chat_generator=MockChatGenerator())])
async def test_a_pipeline_that_is_async_throughout_runs_and_streams_on_the_loop(
    component: Any, loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = loaded(single(it=component))
    events: list[Event] = []
    assert not pipeline.manifest.blocking
    with caplog.at_level(logging.WARNING):
        await called(pipeline, {"messages": [{"role": "user", "content": "two words"}]}, events)
    assert [event.text for event in events if isinstance(event, Chunk)]
    assert caplog.records == []


def test_one_sync_component_makes_the_whole_pipeline_blocking(rag: str, loaded: Loaded) -> None:
    assert loaded(rag).manifest.blocking


async def test_a_generator_that_makes_several_replies_is_not_streamed(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MockChatGenerator, "generation_kwargs", {"n": 2}, raising=False)
    events: list[Event] = []
    await called(loaded(single(llm=MockChatGenerator())), {"messages": "two words"}, events)
    assert events == []


async def test_a_failing_component_leaves_the_log_and_the_home_alone(
    rag: str,
    loaded: Loaded,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    from mcp_server.pipelines import haystack

    haystack.install()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    pipeline = loaded(rag)
    with pytest.raises(Exception, match="filter") as failed:
        await called(pipeline, {"query": "x", "language": "y", "filters": {"nonsense": 1}})
    assert haystack.reason(failed.value).startswith("retriever: ValueError: ")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert not (tmp_path / "home").exists()


async def test_a_loop_takes_its_first_value_from_outside(loaded: Loaded) -> None:
    pipeline = single(
        join=BranchJoiner(list[ChatMessage]),
        llm=MockChatGenerator(["no", '{"a": 1}']),
        check=JsonSchemaValidator({"type": "object"}),
    )
    pipeline.connect("join", "llm.messages")
    pipeline.connect("llm.replies", "check.messages")
    pipeline.connect("check.validation_error", "join")
    found = loaded(pipeline)
    assert found.manifest.tool["inputSchema"]["required"] == ["value"]
    answer = await called(found, {"value": [{"role": "user", "content": "go"}]})
    assert answer["check"]["validated"][0]["content"] == '{"a": 1}'


async def test_a_joiner_that_is_fed_asks_for_nothing_but_can_be_fed_more_by_a_mapping(loaded: Loaded) -> None:
    store = InMemoryDocumentStore(shared=False)
    pipeline = single(
        one=InMemoryBM25Retriever(store), two=InMemoryBM25Retriever(store), joiner=DocumentJoiner()
    )
    pipeline.connect("one", "joiner")
    pipeline.connect("two", "joiner")
    assert "documents" not in properties(loaded(pipeline))
    found = loaded(f"{pipeline.dumps()}\ninputs: {{query: [one.query, two.query], more: joiner.documents}}\n")
    assert found.manifest.tool["inputSchema"]["required"] == ["query"]
    answer = await called(found, {"query": "x", "more": [{"content": "mine"}]})
    assert [document["content"] for document in answer["joiner"]["documents"]] == ["mine"]


async def test_what_templates_make_is_promised_no_type(loaded: Loaded) -> None:
    adapter = OutputAdapter("{{ value }} is text", output_type=list[int])
    assert await called(loaded(single(adapter=adapter)), {"value": [1]}) == {
        "adapter": {"output": "[1] is text"}
    }


async def test_a_branch_that_did_not_run_is_left_out_of_the_answer(loaded: Loaded) -> None:
    routes = [
        {"condition": f"{{{{ {test} }}}}", "output": "{{ text }}", "output_name": name, "output_type": str}
        for test, name in (("text == 'a'", "first"), ("text != 'a'", "second"))
    ]
    text = single(router=ConditionalRouter(routes)).dumps()
    found = loaded(f"{text}\noutputs: {{one: router.first, two: router.second}}\n")
    assert await called(found, {"text": "a"}) == {"one": "a"}


async def test_calls_at_the_same_time_keep_to_themselves(rag: str, loaded: Loaded) -> None:
    pipeline = loaded(rag + INPUTS)
    answers: dict[int, str] = {}

    async def ask(number: int) -> None:
        answer = await called(pipeline, {"question": f"number {number}", "language": "digits"})
        answers[number] = answer["llm"]["replies"][0]["content"]

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(ask, number)
    assert all(f"number {number} in digits" in text for number, text in answers.items())


async def test_the_callers_arguments_are_left_as_they_are(rag: str, loaded: Loaded) -> None:
    arguments = {"query": "Rome", "language": "Latin"}
    await called(loaded(rag), arguments)
    assert arguments == {"query": "Rome", "language": "Latin"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"query": 1, "language": "x"}, "`query`: Input should be a valid string"),
        ({"language": "x"}, "`query`: Field required"),
        ({"query": "x", "language": "x", "tools": []}, "`tools`: Extra inputs are not permitted"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(
    arguments: dict[str, Any], told: str, rag: str, loaded: Loaded
) -> None:
    with pytest.raises(Invalid) as refused:
        loaded(rag).call(arguments, context())
    assert str(refused.value) == told


async def test_documents_go_in_and_their_number_comes_out(loaded: Loaded) -> None:
    store = InMemoryDocumentStore(shared=False)
    pipeline = loaded(single(writer=DocumentWriter(store)))
    given = {"documents": [{"content": "a", "meta": {"x": 1}}, {"content": "b"}], "policy": "overwrite"}
    assert await called(pipeline, given) == {"writer": {"documents_written": 2}}


def test_a_run_that_is_to_stop_stops_at_its_next_chunk(loaded: Loaded) -> None:
    stopping: list[Context] = []
    pipeline = loaded(single(prompt=PromptBuilder("{{ a }}"), llm=MockChatGenerator()))
    context = Context("run", Caller(), lambda event: stopping[0].stop())
    stopping.append(context)
    with pytest.raises(Stopped):
        pipeline.call({"a": "x", "messages": "one two three"}, context)
