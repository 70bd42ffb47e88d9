"""What a wrapper publishes beside its tool, as its author declares it: `@resource`, `@prompt`, `@completion`.

A declaration is a mark on the method; whoever loads the wrapper collects the marks. Light to import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

Method = TypeVar("Method", bound=Callable[..., Any])

MARKS = "__published__"


@dataclass(frozen=True)
class ResourceMark:
    """A method that gives the contents of a resource, or of every resource a template describes."""

    uri: str
    name: str | None = None
    title: str | None = None
    description: str | None = None
    mime_type: str | None = None


@dataclass(frozen=True)
class PromptMark:
    """A method that gives the messages of a prompt."""

    name: str | None = None
    title: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class CompletionMark:
    """A method that suggests values for an argument of a prompt or a variable of a template."""

    of: str
    argument: str


Mark = ResourceMark | PromptMark | CompletionMark


def resource(
    uri: str,
    *,
    name: str | None = None,
    title: str | None = None,
    description: str | None = None,
    mime_type: str | None = None,
) -> Callable[[Method], Method]:
    """Publish what a method gives as an MCP resource.

        @resource("handbook://chapters/{number}", mime_type="text/markdown")
        def chapter(self, number: int) -> str:
            \"\"\"A chapter of the handbook.\"\"\"

    `uri` may be a template (RFC 6570 level 1); its variables are the method's parameters, and a parameter
    annotated `Context` is the running request. The method, sync or async, gives a text, bytes, a `File`,
    anything else as JSON, or a list of texts, bytes and files: one content each. Name and description are
    those of the method and its docstring unless given.
    """
    return _marking(ResourceMark(uri, name, title, description, mime_type))


def prompt(
    *, name: str | None = None, title: str | None = None, description: str | None = None
) -> Callable[[Method], Method]:
    """Publish what a method gives as an MCP prompt.

        @prompt(title="Review a text")
        def review(self, text: str, tone: Literal["kind", "strict"] = "kind") -> str:
            \"\"\"Ask for a review.

            Args:
                text: What to review.
            \"\"\"

    The parameters are the prompt's arguments. The method, sync or async, gives a text (one message of the
    user), a message, or a list of these. A message is a Haystack `ChatMessage`, an object with `role` and
    `content`, or content for the user: an MCP content block, an image, a file.
    """
    return _marking(PromptMark(name, title, description))


def completion(of: str, argument: str) -> Callable[[Method], Method]:
    """Publish a method that completes an argument: of the prompt of this name, or of this URI template.

        @completion("review", "text")
        def texts(self, value: str, given: dict[str, str]) -> list[str]:

    The method gets what was typed so far, and (if it takes a second parameter) the other arguments that are
    known; it gives values that fit, best first. What is annotated as a `Literal`, an `Enum` or a `bool`
    completes itself.
    """
    return _marking(CompletionMark(of, argument))


class Marked(NamedTuple):
    """A bound method and one of its marks."""

    mark: Mark
    function: Callable[..., Any]


def marked(wrapper: object) -> Iterator[Marked]:
    """Every mark of the object's methods, those of a base class first, each class in the order written."""
    names = dict.fromkeys(name for kind in reversed(type(wrapper).__mro__) for name in vars(kind))
    for name in names:
        marks: tuple[Mark, ...] = getattr(getattr(type(wrapper), name, None), MARKS, ())
        for mark in marks:
            yield Marked(mark, getattr(wrapper, name))


def _marking(mark: Mark) -> Callable[[Method], Method]:
    def decorate(method: Method) -> Method:
        before: tuple[Mark, ...] = getattr(method, MARKS, ())
        setattr(method, MARKS, (mark, *before))  # decorators apply from below
        return method

    return decorate
