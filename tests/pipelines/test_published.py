"""What pipelines publish beside their tool: resources, prompts, completions, diagrams."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import pytest

from mcp_server.errors import Broken
from mcp_server.models import Caller, Run
from mcp_server.pipelines import Pipeline, load
from mcp_server.pipelines.context import Context, ProtocolError
from mcp_server.pipelines.uris import Template

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
HEAD = """\
import base64
from enum import Enum
from typing import Any, Literal

from haystack.dataclasses import ChatMessage, ImageContent
from mcp_server import Context, File, PipelineWrapper as Base, completion, prompt, resource

PNG = base64.b64decode("{png}")


class Tone(Enum):
    KIND = "kind"
    STRICT = "strict"


class PipelineWrapper(Base):
    def run_api(self) -> str:
        \"\"\"Does nothing.\"\"\"
        return ""

"""

Loader = Callable[[str], Pipeline]


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    """Loads a wrapper whose class has this body."""

    def load_it(body: str) -> Pipeline:
        head = HEAD.replace("{png}", base64.b64encode(PNG).decode())
        (tmp_path / "pipeline_wrapper.py").write_text(head + indent(dedent(body), "    "))
        return load("shop", tmp_path)

    return load_it


def done(pipeline: Pipeline, verb: Any, **inputs: Any) -> Any:
    """What a run of the verb gives, as JSON."""
    caller = Caller()
    run = Run(
        id="1", pipeline="shop", version=1, digest="", inputs=inputs, verb=verb, caller=caller, timeout=1
    )
    work = pipeline.prepare(run)
    value = work.call(Context("1", caller, lambda event: None))
    return json.loads((value if work.blocking else asyncio.run(value)).content)


def test_what_is_published_is_told_in_wire_form(loaded: Loader) -> None:
    manifest = loaded('''
        @resource("shop://opening-hours", name="hours", mime_type="text/plain")
        def hours(self) -> str:
            """When we are open."""
            return "9 to 5"

        @resource("shop://items/{number}")
        def item(self, number: int) -> dict:
            """An item."""
            return {"number": number}

        @prompt(title="Complain")
        def complain(self, about: str, tone: Tone = Tone.KIND) -> str:
            """Write a complaint.

            Args:
                about: What is wrong.
            """
            return f"Complain about {about}, {tone.value}."
    ''').manifest
    assert manifest.resources == (
        {
            "uri": "shop://opening-hours",
            "name": "hours",
            "description": "When we are open.",
            "mimeType": "text/plain",
        },
    )
    assert manifest.templates == (
        {"uriTemplate": "shop://items/{number}", "name": "item", "description": "An item."},
    )
    assert manifest.prompts == (
        {
            "name": "complain",
            "title": "Complain",
            "description": "Write a complaint.",
            "arguments": [
                {"name": "about", "description": "What is wrong.", "required": True},
                {"name": "tone", "required": False},
            ],
        },
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('"text"', [{"mimeType": "text/plain", "text": "text"}]),
        ("PNG", [{"mimeType": "image/png", "blob": base64.b64encode(PNG).decode()}]),
        ('b"\\x00"', [{"mimeType": "application/octet-stream", "blob": "AA=="}]),
        ('{"a": 1}', [{"mimeType": "application/json", "text": '{"a":1}'}]),
        ("[1, 2]", [{"mimeType": "application/json", "text": "[1,2]"}]),
        ("[]", [{"mimeType": "application/json", "text": "[]"}]),
        ('File("a.csv", b"a,b", "text/csv")', [{"mimeType": "text/csv", "text": "a,b"}]),
        (
            'ImageContent(base64.b64encode(PNG).decode(), "image/png", validation=False)',
            [{"mimeType": "image/png", "blob": base64.b64encode(PNG).decode()}],
        ),
        (
            '["one", b"\\x00"]',
            [
                {"mimeType": "text/plain", "text": "one"},
                {"mimeType": "application/octet-stream", "blob": "AA=="},
            ],
        ),
    ],
)
def test_a_resource_gives_contents_of_any_kind(
    loaded: Loader, given: str, expected: list[dict[str, str]]
) -> None:
    pipeline = loaded(f"""
        @resource("shop://it")
        def it(self) -> Any:
            return {given}
    """)
    assert done(pipeline, "read", uri="shop://it") == [{"uri": "shop://it", **each} for each in expected]


def test_a_declared_type_goes_before_what_the_value_says(loaded: Loader) -> None:
    pipeline = loaded("""
        @resource("shop://it", mime_type="application/vnd.shop+json")
        async def it(self) -> Any:
            return {"a": 1}
    """)
    assert done(pipeline, "read", uri="shop://it")[0]["mimeType"] == "application/vnd.shop+json"


def test_the_variables_of_a_uri_are_decoded_to_the_parameters(loaded: Loader) -> None:
    pipeline = loaded("""
        @resource("shop://{aisle}/items/{number}")
        def item(self, number: int, aisle: str, context: Context) -> list[Any]:
            return {"aisle": aisle, "number": number, "run": context.run}
    """)
    text = done(pipeline, "read", uri="shop://b%C3%BCro/items/7")[0]["text"]
    assert json.loads(text) == {"aisle": "büro", "number": 7, "run": "1"}
    with pytest.raises(ProtocolError, match="`number`"):
        done(pipeline, "read", uri="shop://a/items/many")


@pytest.mark.parametrize("uri", ["shop://items/", "shop://items/1/2", "shop://it", "other://items/1"])
def test_a_resource_that_is_not_published_is_a_protocol_error_that_names_it(loaded: Loader, uri: str) -> None:
    pipeline = loaded("""
        @resource("shop://items/{number}")
        def item(self, number: str) -> str:
            return number
    """)
    with pytest.raises(ProtocolError) as refused:
        done(pipeline, "read", uri=uri)
    assert (refused.value.code, refused.value.data) == (-32602, {"uri": uri})


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": {"type": "text", "text": text}}


IMAGE = {"type": "image", "data": base64.b64encode(PNG).decode(), "mimeType": "image/png"}
RESOURCE = {"type": "resource", "resource": {"uri": "a://b", "mimeType": "text/plain", "text": "c"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ('"hello"', [user("hello")]),
        ('["hello", "you"]', [user("hello"), user("you")]),
        ('ChatMessage.from_user("hello")', [user("hello")]),
        ('ChatMessage.from_system("be kind")', [user("be kind")]),
        ('ChatMessage.from_assistant("hi")', [{**user("hi"), "role": "assistant"}]),
        ('{"role": "assistant", "content": "hi"}', [{**user("hi"), "role": "assistant"}]),
        (
            'ChatMessage.from_user(content_parts=["see", ImageContent(base64.b64encode(PNG).decode())])',
            [user("see"), {"role": "user", "content": IMAGE}],
        ),
        ("PNG", [{"role": "user", "content": IMAGE}]),
        (f"[{RESOURCE}, 'read it']", [{"role": "user", "content": RESOURCE}, user("read it")]),
        (
            f'{{"role": "user", "content": [{RESOURCE}, "x"]}}',
            [{"role": "user", "content": RESOURCE}, user("x")],
        ),
        ('{"a": 1}', [user('{"a":1}')]),
    ],
)
def test_a_prompt_gives_messages_of_any_kind(
    loaded: Loader, given: str, expected: list[dict[str, Any]]
) -> None:
    pipeline = loaded(f"""
        @prompt()
        def ask(self) -> Any:
            return {given}
    """)
    assert done(pipeline, "prompt", name="ask", arguments={}) == expected


def test_texts_become_the_types_of_a_prompts_parameters(loaded: Loader) -> None:
    pipeline = loaded("""
        @prompt(name="ask")
        async def asked(self, count: int, tags: list[str], sure: bool = False) -> str:
            return repr((count, tags, sure))
    """)
    arguments = {"count": "3", "tags": '["a"]', "sure": "true"}
    assert done(pipeline, "prompt", name="ask", arguments=arguments) == [user("(3, ['a'], True)")]


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("ask", {}, "`count`"),
        ("ask", {"count": "many", "tags": "[]"}, "`count`"),
        ("ask", {"count": "1", "tags": "a, b"}, "`tags`"),
        ("ask", {"count": "1", "tags": "[]", "more": "x"}, "`more`"),
        ("asked", {}, "Unknown prompt"),
    ],
)
def test_arguments_that_do_not_fit_are_a_protocol_error(
    loaded: Loader, name: str, arguments: dict[str, str], said: str
) -> None:
    pipeline = loaded("""
        @prompt(name="ask")
        def asked(self, count: int, tags: list[str]) -> str:
            return ""
    """)
    with pytest.raises(ProtocolError, match=said) as refused:
        done(pipeline, "prompt", name=name, arguments=arguments)
    assert refused.value.code == -32602


COMPLETED = """
    @resource("shop://items/{number}")
    def item(self, number: str) -> str:
        return number

    @prompt()
    def complain(self, about: str, tone: Tone = Tone.KIND, sure: bool = True) -> str:
        return about

    @completion("complain", "about")
    async def subjects(self, value: str, given: dict[str, str]) -> list[str]:
        return [f"{value} {given.get('tone')}"]

    @completion("shop://items/{number}", "number")
    def numbers(self, value: str) -> list[Any]:
        return [value + "1", 2]
"""


@pytest.mark.parametrize(
    ("of", "argument", "value", "expected"),
    [
        ("complain", "tone", "", ["kind", "strict"]),
        ("complain", "tone", "ST", ["strict"]),
        ("complain", "tone", "i", ["kind", "strict"]),
        ("complain", "sure", "t", ["true"]),
        ("complain", "about", "noise", ["noise kind"]),
        ("shop://items/{number}", "number", "4", ["41", "2"]),
    ],
)
def test_arguments_are_completed_by_their_type_or_by_a_method(
    loaded: Loader, of: str, argument: str, value: str, expected: list[str]
) -> None:
    inputs = {"of": of, "argument": argument, "value": value, "arguments": {"tone": "kind"}}
    assert done(loaded(COMPLETED), "complete", **inputs) == expected


def test_what_is_not_there_is_not_completed(loaded: Loader) -> None:
    with pytest.raises(ProtocolError):
        done(loaded(COMPLETED), "complete", of="complain", argument="other", value="", arguments={})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('@resource("no scheme")\ndef it(self) -> str: ...', "scheme"),
        ('@resource("a://{b")\ndef it(self) -> str: ...', "variable"),
        ('@resource("a://{b}/{b}")\ndef it(self, b: str) -> str: ...', "once"),
        ('@resource("pipeline://x")\ndef it(self) -> str: ...', "server's own"),
        ('@resource("a://{b}")\ndef it(self) -> str: ...', "`b` must be"),
        ('@resource("a://b")\ndef it(self, c: str) -> str: ...', "`c` must be"),
        ("@prompt()\ndef it(self, c) -> str: ...", "annotate the parameter `c`"),
        (
            '@prompt(name="a")\ndef it(self) -> str: ...\n@prompt(name="a")\ndef too(self) -> str: ...',
            "twice",
        ),
        ('@completion("nothing", "b")\ndef it(self, value: str) -> list[str]: ...', "not published"),
    ],
)
def test_a_mark_that_cannot_be_is_told_with_its_line(loaded: Loader, body: str, said: str) -> None:
    with pytest.raises(Broken, match=said) as broken:
        loaded(body)
    assert broken.value.problem.file == "pipeline_wrapper.py"
    assert broken.value.problem.line is not None and broken.value.problem.line > HEAD.count("\n")


YAML = """
components:
  builder:
    type: haystack.components.builders.chat_prompt_builder.ChatPromptBuilder
    init_parameters:
      required_variables: [topic]
      template:
        - role: system
          content: [{text: You are brief.}]
        - role: user
          content: [{text: "Tell me about {{ topic }} in {{ language }}."}]
connections: []
"""


def test_a_chat_prompt_pipeline_publishes_its_template_and_its_diagram(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yml").write_text(YAML)
    pipeline = load("teller", tmp_path)
    arguments = pipeline.manifest.prompts[0]["arguments"]
    assert pipeline.manifest.prompts[0]["name"] == "teller"
    assert arguments == [{"name": "language", "required": False}, {"name": "topic", "required": True}]
    messages = done(pipeline, "prompt", name="teller", arguments={"topic": "tea", "language": "Latin"})
    assert messages == [user("You are brief."), user("Tell me about tea in Latin.")]
    assert [each["uri"] for each in pipeline.manifest.resources] == ["pipeline://teller/diagram"]
    content = done(pipeline, "read", uri="pipeline://teller/diagram")[0]
    assert content["mimeType"] == "text/vnd.mermaid"
    assert "graph TD" in content["text"] and "ChatPromptBuilder" in content["text"]


def test_so_does_a_wrapper_whose_pipeline_has_a_chat_prompt(tmp_path: Path) -> None:
    (tmp_path / "teller.yml").write_text(YAML)
    (tmp_path / "pipeline_wrapper.py").write_text(
        dedent("""
        from pathlib import Path

        from haystack import Pipeline
        from mcp_server import PipelineWrapper as Base

        class PipelineWrapper(Base):
            def setup(self) -> None:
                self.pipeline = Pipeline.loads((Path(__file__).parent / "teller.yml").read_text())

            def run_api(self, topic: str) -> str:
                return topic
        """)
    )
    pipeline = load("teller", tmp_path)
    assert [each["name"] for each in pipeline.manifest.prompts] == ["teller"]
    messages = done(pipeline, "prompt", name="teller", arguments={"topic": "tea", "language": "Latin"})
    assert messages == [user("You are brief."), user("Tell me about tea in Latin.")]


@pytest.mark.parametrize(
    ("template", "uri", "values"),
    [
        ("a://b", "a://b", {}),
        ("a://b", "a://c", None),
        ("a://{b}/c", "a://x/c", {"b": "x"}),
        ("a://{b}/c", "a://x/y/c", None),
        ("a://{b}", "a://x%2Fy", {"b": "x/y"}),
        ("a://{+b}", "a://x/y", {"b": "x/y"}),
        ("a.b://{c}", "aXb://x", None),
        ("a://{b}-{c}", "a://x-y", {"b": "x", "c": "y"}),
    ],
)
def test_a_template_gives_the_values_of_a_uri(template: str, uri: str, values: dict[str, str] | None) -> None:
    assert Template(template).values(uri) == values
    if values is not None:
        assert Template(template).values(Template(template).uri(**values)) == values
