"""The output items of a response, and the events that tell them as they grow (OpenAI's Responses API)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ...models import Json
from ..sse import event


class Form(NamedTuple):
    """How items of one type hold their text, and what their events are called."""

    kind: str
    parts: str
    part: str
    text: str


MESSAGE = Form("message", "content", "content_part", "output_text")
REASONING = Form("reasoning", "summary", "reasoning_summary_part", "reasoning_summary_text")


def text_item(form: Form, identity: str, text: str) -> Json:
    """A message, or the summary of a reasoning."""
    item = {"id": f"{form.kind}_{identity}", "type": form.kind, "status": "completed"}
    if form is REASONING:
        return item | {"summary": [{"type": "summary_text", "text": text}]}
    return item | {"role": "assistant", "content": [_output(text)]}


def call_item(identity: str, call: Json) -> Json:
    """The call of a tool; `call` is of the form that chat completions have."""
    about = {"id": f"call_{identity}", "type": "function_call", "call_id": call["id"], "status": "completed"}
    return about | call["function"]


def _output(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class Items:
    """Items that are told one after the other; the last one may be open still."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._number = -1
        self._form: Form | None = None
        self._text = ""
        self.done: list[Json] = []
        self.said = ""
        """The text of all messages so far."""
        self.thought = False
        """True if there was any reasoning."""

    def event(self, kind: str, **data: Any) -> bytes:
        """An event, numbered."""
        self._number += 1
        return event(kind, {"type": kind, "sequence_number": self._number, **data})

    def add(self, form: Form, text: str) -> Iterator[bytes]:
        """A piece of text, in an item that is opened for it unless one of its form is."""
        if self._form is not form:
            yield from self.close()
            yield from self._open(form)
        self._text += text
        if form is MESSAGE:
            self.said += text
        yield self.event(f"response.{form.text}.delta", **self._at(form), delta=text)

    def close(self) -> Iterator[bytes]:
        """Complete the open item, if there is one."""
        if (form := self._form) is None:
            return
        item = text_item(form, self._next, self._text)
        yield self.event(f"response.{form.text}.done", **self._at(form), text=self._text)
        yield self.event(f"response.{form.part}.done", **self._where(form), part=item[form.parts][0])
        yield from self._complete(item)
        self._form, self._text = None, ""

    def call(self, call: Json) -> Iterator[bytes]:
        """The call of a tool, at once."""
        item = call_item(self._next, call)
        at = {"item_id": item["id"], "output_index": len(self.done)}
        yield self._added(item | {"arguments": ""})
        yield self.event("response.function_call_arguments.delta", **at, delta=item["arguments"])
        arguments = {"name": item["name"], "arguments": item["arguments"]}
        yield self.event("response.function_call_arguments.done", **at, **arguments)
        yield from self._complete(item)

    def _open(self, form: Form) -> Iterator[bytes]:
        self._form = form
        self.thought = self.thought or form is REASONING
        item = text_item(form, self._next, "")
        yield self._added(item | {form.parts: []})
        yield self.event(f"response.{form.part}.added", **self._where(form), part=item[form.parts][0])

    def _added(self, item: Json) -> bytes:
        begun = item | {"status": "in_progress"}
        return self.event("response.output_item.added", output_index=len(self.done), item=begun)

    def _complete(self, item: Json) -> Iterator[bytes]:
        yield self.event("response.output_item.done", output_index=len(self.done), item=item)
        self.done.append(item)

    @property
    def _next(self) -> str:
        return f"{self._identity}_{len(self.done)}"

    def _where(self, form: Form) -> Json:
        index = "content_index" if form is MESSAGE else "summary_index"
        return {"item_id": f"{form.kind}_{self._next}", "output_index": len(self.done), index: 0}

    def _at(self, form: Form) -> Json:
        return self._where(form) | ({"logprobs": []} if form is MESSAGE else {})
