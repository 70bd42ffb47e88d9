"""The kind `steps`: what its YAML may say, and what one step does with its models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from jinja2.exceptions import SecurityError
from openai_server import OpenAIServer, openai_server
from starlette.exceptions import HTTPException

from mcp_server.errors import Broken, Invalid
from mcp_server.models import Caller, Chunk, Event, Json, Response, Run
from mcp_server.pipelines import load
from mcp_server.pipelines.context import Context

pytestmark = pytest.mark.anyio

MOCK = "haystack.components.generators.chat.mock.MockChatGenerator"
OPENAI = "haystack.components.generators.chat.openai.OpenAIChatGenerator"
ARTICLE = f"""
inputs:
  topic: What to write about.
  words: {{type: integer, default: 100}}
models:
  echo:
    type: {MOCK}
    price: {{input: 1000000, output: 2000000}}
  fixed:
    type: {MOCK}
    init_parameters:
      responses: [{{role: assistant, content: [{{text: always this}}]}}]
steps:
  - name: angles
    description: Find angles
    models: [echo, fixed]
    template: "About {{topic}}, {{{{ words }}}} words, {{unknown}}"
  - name: draft
    models: echo
    template: "Write {{angles_output}} about {{topic}}"
"""


def written(folder: Path, text: str = ARTICLE) -> Path:
    """A folder with this YAML."""
    folder.mkdir(exist_ok=True)
    (folder / "article.yml").write_text(dedent(text))
    return folder


class Heard(list[Event]):
    """The events of one step."""

    @property
    def responses(self) -> list[Response]:
        found = [event for event in self if isinstance(event, Response)]
        return sorted(found, key=lambda each: each.index)

    def streamed(self, model: str) -> str:
        return "".join(event.text for event in self if isinstance(event, Chunk) and event.source == model)


async def stepped(root: Path, step: str, **given: Any) -> Heard:
    """Load the pipeline and execute one of its steps."""
    heard = Heard()
    inputs: Json = {"step": step, "inputs": {"topic": "tea"}, "outputs": {}} | given
    run = Run(id="1", pipeline="article", version=1, digest="", inputs=inputs, verb="step", timeout=30)
    pipeline = load("article", root)
    await pipeline.prepare(run).call(Context("1", Caller(), heard.append))
    await asyncio.to_thread(pipeline.close)
    return heard


def refusal(root: Path) -> str:
    """Why the YAML does not load."""
    with pytest.raises(Broken) as broken:
        load("article", root)
    return str(broken.value)


def changed(old: str, new: str) -> str:
    assert old in ARTICLE
    return ARTICLE.replace(old, new)


def test_its_tool_takes_the_declared_inputs(tmp_path: Path) -> None:
    manifest = load("article", written(tmp_path)).manifest
    assert manifest.kind == "steps"
    assert manifest.tool["inputSchema"] == {
        "type": "object",
        "properties": {
            "topic": {"type": "string", "description": "What to write about."},
            "words": {"type": "integer", "default": 100},
        },
        "required": ["topic"],
        "additionalProperties": False,
    }
    assert [step["name"] for step in manifest.steps] == ["angles", "draft"]
    assert manifest.steps[0]["models"] == ["echo", "fixed"]
    assert manifest.steps[0]["description"] == "Find angles"


async def test_a_step_asks_its_models_side_by_side_and_streams_each_under_its_name(tmp_path: Path) -> None:
    heard = await stepped(written(tmp_path), "angles")
    prompt = "About tea, 100 words, {unknown}"
    assert [(each.index, each.model, each.text) for each in heard.responses] == [
        (0, "echo", prompt),
        (1, "fixed", "always this"),
    ]
    assert all(each.prompt == prompt and each.error is None for each in heard.responses)
    assert heard.streamed("echo") == prompt
    assert heard.streamed("fixed") == "always this"


async def test_a_price_gives_the_cost_of_a_response_and_none_without_one(tmp_path: Path) -> None:
    echo, fixed = (await stepped(written(tmp_path), "angles")).responses
    assert echo.tokens is not None
    assert echo.cost == echo.tokens.input * 1.0 + echo.tokens.output * 2.0
    assert fixed.tokens is not None and fixed.cost is None


async def test_a_later_step_sees_the_chosen_outputs_and_the_feedback(tmp_path: Path) -> None:
    outputs = {"angles": "an {{ odd }} {topic}"}
    heard = await stepped(written(tmp_path), "draft", outputs=outputs, feedback="Be brief.")
    assert heard.responses[0].text is not None
    assert heard.responses[0].text.startswith("Write an {{ odd }} {topic} about tea\n\n")
    assert heard.responses[0].text.endswith("Be brief.")


async def test_a_template_may_place_the_feedback_and_set_roles(tmp_path: Path) -> None:
    rule = '{% message role="system" %}Rule: {{ feedback }}{% endmessage %}'
    template = rule + '{% message role="user" %}Go{% endmessage %}'
    text = changed('"Write {angles_output} about {topic}"', f"'{template}'")
    heard = await stepped(written(tmp_path, text), "draft", feedback="Be brief.")
    assert heard.responses[0].prompt == "system: Rule: Be brief.\n\nuser: Go"


async def test_only_the_responses_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    heard = await stepped(written(tmp_path), "angles", indexes=[1])
    assert [(each.index, each.model) for each in heard.responses] == [(1, "fixed")]


async def test_a_caller_may_name_other_models(tmp_path: Path) -> None:
    heard = await stepped(written(tmp_path), "draft", outputs={"angles": "x"}, models=["fixed"])
    assert [each.model for each in heard.responses] == ["fixed"]
    with pytest.raises(Invalid, match="no model gone; there are echo, fixed"):
        await stepped(written(tmp_path), "draft", models=["gone"])


async def test_several_texts_are_merged_by_a_model(tmp_path: Path) -> None:
    merge = {"instruction": "Keep the best.", "texts": ["first", "second"]}
    (merged,) = (await stepped(written(tmp_path), "draft", merge=merge)).responses
    assert merged.text is not None
    assert all(part in merged.text for part in ("Keep the best.", "first", "second"))


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("{angles_output} about", "{{ draft_output }} about", 20, "`draft_output` is no input"),
        ("models: echo", "models: gone", 19, "`gone` is not declared under `models`; there are echo, fixed"),
        ("name: draft", "name: angles", 18, "two steps called `angles`"),
        ("default: 100", "default: many", 4, "the default of `words` must be of type integer"),
        ("description: Find angles", "prompt: Find angles", 15, "`steps.0.prompt` is unknown"),
        ("{topic}, ", "{% if %}", 17, "the template cannot be read"),
        (f"  fixed:\n    type: {MOCK}", "  fixed:\n    type: no.such.Thing", 9, "no.such"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, told: str
) -> None:
    message = refusal(written(tmp_path, changed(old, new)))
    assert told in message
    assert message.startswith(f"article.yml, line {line}: ")


def test_a_model_must_be_a_chat_generator(tmp_path: Path) -> None:
    text = changed(
        f"  echo:\n    type: {MOCK}", "  echo:\n    type: haystack.components.joiners.list_joiner.ListJoiner"
    )
    assert "`echo` is no chat generator" in refusal(written(tmp_path, text))


async def test_a_template_cannot_reach_into_python(tmp_path: Path) -> None:
    text = changed('"Write {angles_output} about {topic}"', '"{{ topic.__class__.__mro__ }}"')
    with pytest.raises(SecurityError):
        await stepped(written(tmp_path, text), "draft")


def with_openai(model: OpenAIServer, retries: int, fallback: str = "") -> str:
    text = f"""
    inputs: {{topic: ""}}
    retries: {retries}
    models:
      real:
        type: {OPENAI}
        init_parameters:
          model: test-model
          api_base_url: {model.url}
          api_key: {{type: env_var, env_vars: [OPENAI_API_KEY], strict: true}}
          max_retries: 0
      spare: {{type: {MOCK}}}
    steps:
      - {{name: only, models: real, template: "Say {{topic}}", fallback: [{fallback}]}}
    """
    return dedent(text)


async def test_a_real_client_streams_and_tells_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openai_server() as model:
        monkeypatch.setenv("OPENAI_API_KEY", "test-key")
        heard = await stepped(written(tmp_path, with_openai(model, 0)), "only")
    assert heard.responses[0].text == "You said: Say tea"
    assert heard.streamed("real") == "You said: Say tea"
    assert sum(isinstance(event, Chunk) for event in heard) > 1


async def test_an_error_that_may_pass_is_met_with_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [429, 503]

    def overloaded(body: Json) -> str:
        if failures:
            raise HTTPException(failures.pop())
        return "at last"

    with openai_server(overloaded) as model:
        monkeypatch.setenv("OPENAI_API_KEY", "test-key")
        (response,) = (await stepped(written(tmp_path, with_openai(model, 2)), "only")).responses
    assert response.text == "at last"
    assert [note.endswith("asked again") for note in response.notes] == [True, True]


async def test_a_fallback_takes_over_when_a_model_keeps_failing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with openai_server() as model:
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-key")
        (response,) = (await stepped(written(tmp_path, with_openai(model, 2, "spare")), "only")).responses
        (failed,) = (await stepped(written(tmp_path, with_openai(model, 2)), "only")).responses
    assert (response.asked, response.model, response.text) == ("real", "spare", "Say tea")
    assert response.notes[-1] == "falling back to spare"
    assert len(response.notes) == 2, "a refused key is not tried again"
    assert failed.text is None and failed.error is not None and "API key" in failed.error
    assert "wrong-key" not in str(response) + str(failed)
