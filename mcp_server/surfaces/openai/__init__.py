"""The OpenAI-compatible surface: pipelines as models, for every client that speaks to OpenAI.

models        which pipelines are models
asking        from a request to a chat that goes on
completions   chat completions, whole or in chunks
responses     the Responses API, whole or as events
files         uploads, for pipelines that keep them
items         what a response is made of
errors        OpenAI's shape for errors
"""

from __future__ import annotations

from collections.abc import Iterator

from ...models import Json
from ...server import Server
from .. import Surface
from ..operations import OBJECT, TEXT, Handler, Operation, gives, mounted
from .completions import Completions
from .errors import answering
from .files import Files
from .models import Models
from .responses import Responses

CONTENT: Json = {"anyOf": [TEXT, {"type": "array", "items": OBJECT}, {"type": "null"}]}
ITEM: Json = {"type": "object", "properties": {"role": TEXT, "content": CONTENT}}
MESSAGES: Json = {"type": "array", "minItems": 1, "items": ITEM | {"required": ["role"]}}
ITEMS: Json = {"anyOf": [TEXT | {"minLength": 1}, {"type": "array", "minItems": 1, "items": ITEM}]}
MEDIA = ("application/json", "text/event-stream")


def surface(server: Server) -> Surface:
    """Every route, under `/v1` and without."""
    return mounted(operations(server))


def operations(server: Server) -> tuple[Operation, ...]:
    """Every route with its description; the one with a name in front comes last."""
    return (*_under("/v1", server), *_under("", server), _named(server))


def _under(prefix: str, server: Server) -> Iterator[Operation]:
    models, completions, responses = Models(server), Completions(server), Responses(server)
    listed = gives(object=TEXT, data={"type": "array", "items": OBJECT})
    chat, respond = taking(model=TEXT, messages=MESSAGES), taking(model=TEXT, input=ITEMS)
    yield operation("GET", f"{prefix}/models", models.list, "List the models", answer=listed)
    yield operation("GET", f"{prefix}/models/{{model}}", models.one, "Show a model", answer=gives(id=TEXT))
    yield operation("POST", f"{prefix}/chat/completions", completions.create, "Chat with a model", takes=chat)
    yield operation("POST", f"{prefix}/files", Files(server).create, "Keep a file", answer=gives(id=TEXT))
    yield operation("POST", f"{prefix}/responses", responses.create, "Get a response", takes=respond)


def _named(server: Server) -> Operation:
    create = Completions(server).create_for
    return operation("POST", "/{name}/chat", create, "Chat with a pipeline", takes=taking(messages=MESSAGES))


def operation(
    method: str, path: str, handle: Handler, summary: str, takes: Json | None = None, answer: Json = OBJECT
) -> Operation:
    """A route whose errors have OpenAI's shape."""
    media = MEDIA if takes else MEDIA[:1]
    return Operation(method, path, answering(handle), summary, takes=takes, answer=answer, media=media)


def taking(**properties: Json) -> Json:
    """The schema of a body that needs these; what else OpenAI's clients send goes to the pipeline."""
    known = {"stream": {"type": "boolean"}, **properties}
    return {"type": "object", "properties": known, "required": [*properties]}
