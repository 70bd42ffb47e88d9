"""Asking until the answers fit: a person who filled in a form wrongly is asked again, with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from typing import Any

from ..models import Answers, Json
from .questions import Ask, Misfit

AGAIN = 2
"""Times a person is asked again; then the misfit is raised."""

Rounds = Generator[Future[Answers], Answers, dict[str, Any]]
"""Yields what to wait for, is sent what came, and returns what the author gets."""


def rounds(put: Callable[[Mapping[str, Json]], Future[Answers]], questions: Mapping[str, Ask]) -> Rounds:
    """Put the questions, then those again whose answers do not fit. Raises what `Ask.read` does."""
    wanted = {key: question.request() for key, question in questions.items()}
    given: dict[str, Any] = {}
    for left in reversed(range(AGAIN + 1)):
        answers = yield put(wanted)
        asked, wanted = wanted, {}
        for key in asked:
            try:
                given[key] = questions[key].read(answers.get(key))
            except Misfit as misfit:
                if not left:
                    raise
                wanted[key] = reworded(questions[key].request(), misfit)
        if not wanted:
            break
    return {key: given[key] for key in questions}


def reworded(request: Json, misfit: Misfit) -> Json:
    """The same request, whose message says what did not fit."""
    params: Json = request["params"]
    return {**request, "params": {**params, "message": f"{params['message']}\n\nOnce more: {misfit}."}}


def settled(asking: Rounds, future: Future[Answers]) -> dict[str, Any]:
    """What the author gets, after waits in this thread. `future` is what `asking` yielded first."""
    try:
        while True:
            future = asking.send(future.result())
    except StopIteration as end:
        return end.value


async def settled_later(asking: Rounds, future: Future[Answers]) -> dict[str, Any]:
    """The same, awaited."""
    try:
        while True:
            future = asking.send(await asyncio.wrap_future(future))
    except StopIteration as end:
        return end.value
