"""How the questions of a run reach its caller, and how the answers come back.

A handshake-era client is asked at once, through its session. A modern one gets the question as the result
of its request and sends the request again with the answers (multi round-trip requests, 2026-07-28); the
run waits meanwhile and goes on, it never begins anew. A client that cannot be asked is told which run
waits, and that `answer_run` answers it.
"""

from __future__ import annotations

from typing import Any, cast

import mcp_types as types
import orjson
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from pydantic import BaseModel, TypeAdapter, ValidationError

from ...models import Answers, Json, Question
from ...runs import Live
from .eras import Request, is_modern

RESULTS: dict[str, type[BaseModel]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}
"""What answers each kind of request."""

REQUEST: TypeAdapter[types.ServerRequest] = TypeAdapter(types.InputRequest)


def capabilities(request: Request) -> Json:
    """What the client of this request declared, in wire form."""
    declared = request.session.client_capabilities
    return declared.model_dump(mode="json", by_alias=True, exclude_none=True) if declared else {}


def can_be_asked(request: Request, question: Question) -> bool:
    """True if the client declared what every part of the question needs."""
    declared = capabilities(request)
    return all(declares(declared, wanted) for wanted in question.requests.values())


def declares(declared: Json, wanted: Json) -> bool:
    """True if these capabilities cover one request. A bare `elicitation: {}` means forms."""
    feature = wanted["method"].partition("/")[0]
    if feature not in declared:
        return False
    mode = wanted.get("params", {}).get("mode", "form")
    return feature != "elicitation" or mode in (declared[feature] or {"form": {}})


async def pushed(request: Request, question: Question) -> Answers | None:
    """Ask through the session, one request after the other; None if this client is not asked that way.

    A request that the client answers with an error counts as not answered.
    """
    if is_modern(request) or not can_be_asked(request, question):
        return None
    answers: dict[str, Json] = {}
    for key, wanted in question.requests.items():
        try:
            answers[key] = await push(request, wanted)
        except (MCPError, ValidationError):
            continue
    return answers


async def push(request: Request, wanted: Json) -> Json:
    """Send one request on the stream of `request`, and give the result in wire form."""
    result = await request.session.send_request(
        REQUEST.validate_python(wanted, by_name=False),
        RESULTS[wanted["method"]],
        metadata=ServerMessageMetadata(related_request_id=request.request_id),
    )
    return dumped(result)


def question_of(live: Live, state: str | None) -> Question | None:
    """The question a sent-back state belongs to; None if it was answered before, or is another round's."""
    number = cast(Json, orjson.loads(state))["question"] if state else None
    question = live.question
    return question if question is not None and question.number == number else None


def run_of(state: str) -> str:
    """The id of the run that a request state belongs to. The state was sealed by this server."""
    return cast(Json, orjson.loads(state))["run"]


def answers_to(question: Question, responses: types.InputResponses | None) -> Answers | None:
    """The answers a request carries, in wire form; None if one is missing or of another kind."""
    answers: dict[str, Json] = {}
    for key, wanted in question.requests.items():
        response = (responses or {}).get(key)
        if not isinstance(response, RESULTS[wanted["method"]]):
            return None
        answers[key] = dumped(response)
    return answers


def asked(live: Live, question: Question) -> Json:
    """The result that asks: the requests, and the state to send back with the answers."""
    state = {"run": live.run.id, "question": question.number}
    return {
        "resultType": "input_required",
        "inputRequests": dict(question.requests),
        "requestState": orjson.dumps(state).decode(),
    }


def dumped(model: Any) -> Json:
    """A model of the SDK in wire form."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
