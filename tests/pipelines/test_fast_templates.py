"""Environments that compile a template once make of it what Haystack's own make."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from haystack import Pipeline
from haystack.components.builders import ChatPromptBuilder, PromptBuilder
from haystack.components.converters import OutputAdapter
from haystack.components.routers import ConditionalRouter
from haystack.dataclasses import ChatMessage
from haystack.utils.jinja2_sandbox import HaystackSandboxedEnvironment

from mcp_server.pipelines import fast_templates
from mcp_server.pipelines.fast_templates import FastEnvironment, fits
from mcp_server.pipelines.hastening import hasten

TEXTS = (
    "{% for each in many %}{{ loop.index }}: {{ each.name|upper }}{{ ', ' if not loop.last }}{% endfor %}",
    "{% set n = many|length %}{% macro twice(x) %}{{ x }}{{ x }}{% endmacro %}{{ twice(n) }}",
    "{{ many[0].missing }}|{{ nothing }}|{{ 1 + 1 }}|{{ 'ä'|upper }}",
    "{{ many[0].name.__class__.__mro__ }}",
    "{{ 1 / 0 }}",
    "{% for %}",
    "{{ many|no_such_filter }}",
    "{% include 'file' %}",
)


def outcome(env: Any, text: str, number: int) -> Any:
    """What is rendered, or why nothing is."""
    try:
        return env.from_string(text).render(many=[{"name": "tea"}, {"name": str(number)}])
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("text", TEXTS)
def test_a_template_gives_the_same_however_often_it_is_used(text: str) -> None:
    plain, fast = HaystackSandboxedEnvironment(), FastEnvironment()
    for number in range(3):
        assert outcome(fast, text, number) == outcome(plain, text, number)


def test_an_overlay_with_other_signs_compiles_for_itself() -> None:
    fast = FastEnvironment()
    text = "{{ a }} << a >>"
    assert fast.from_string(text).render(a=1) == "1 << a >>"
    other = fast.overlay(variable_start_string="<<", variable_end_string=">>")
    assert other.from_string(text).render(a=1) == "{{ a }} 1"
    assert fast.from_string(text).render(a=1) == "1 << a >>"


def test_it_remembers_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_templates, "MOST", 2)
    monkeypatch.setattr(fast_templates, "LONGEST", 10)
    fast = FastEnvironment()
    assert [fast.from_string(f"{{{{ a }}}} {n}").render(a=n) for n in (1, 2, 3, 1)] == [
        "1 1",
        "2 2",
        "3 3",
        "1 1",
    ]
    assert fast.compile("{{ a }}") is fast.compile("{{ a }}")
    assert fast.compile("{{ a }}" + "b" * 9) is not fast.compile("{{ a }}" + "b" * 9)


def test_components_use_it_and_give_the_same() -> None:
    routes: Any = [
        {"condition": "{{ n > 1 }}", "output": "{{ n + 1 }}", "output_name": "many", "output_type": int},
        {"condition": "{{ n <= 1 }}", "output": "{{ n }}", "output_name": "few", "output_type": int},
    ]
    chat = ChatPromptBuilder([ChatMessage.from_system("Be {{ how }}."), ChatMessage.from_user("{{ n }}?")])
    text = ChatPromptBuilder('{% message role="user" %}{{ n }}{% endmessage %}')
    parts: list[Any] = [chat, text, PromptBuilder("{{ n }}"), ConditionalRouter(routes)]
    parts.append(OutputAdapter("{{ n|string + '!' }}", str))
    pipeline = Pipeline()
    pipeline.add_component("chat", chat)

    def given() -> list[Any]:
        return [each.run(n=n, **({"how": "kind"} if each is chat else {})) for each in parts for n in (1, 2)]

    before = given()
    hasten(vars(SimpleNamespace(pipeline=pipeline, others=parts[1:])))
    assert {type(vars(each)["_env"]) for each in parts} == {FastEnvironment}
    assert given() == before and given() == before
    assert fits()
