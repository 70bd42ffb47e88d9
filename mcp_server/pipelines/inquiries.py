"""The questions of a recorded run: calls that its caller makes. They get the requests and give the answers.

A run that is replayed is not asked again what it was asked before. That is also how a run waits without a
host: it is stopped at its question, and begins anew, replayed, once the answer is there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import cast

import orjson

from ..models import Answers, Json, StepDone
from .recording import playing
from .serialized import Unkept, digest, pack

QUESTION = "(question)"
"""How these calls are named, inside the call of whatever component asks."""
ONCE = "elicitationId"
"""What differs each time the same page is asked for."""


class Inquiry:
    """One question. `answers` are known if it was answered before."""

    answers: Answers | None = None

    def __init__(self, requests: Mapping[str, Json]) -> None:
        """It belongs to the call that makes it; there must be a tape."""
        here = playing()
        assert here is not None, "a run that is not recorded only asks"
        self._tape, within = here
        self._clock = time.perf_counter()
        name, told = f"{within}{QUESTION}", orjson.dumps(lasting(requests))
        step = StepDone(
            component=name,
            visit=self._tape.visit(name),
            began=self._tape.ended,
            started=time.time(),
            seconds=0,
            digest=digest(told),
            inputs=pack(dict(requests)).decode(),
        )
        self._step = step
        self.mark = f"{step.label}@{(step.digest or '')[:16]}"
        """What its answers are known by: an answer is never taken for that of another question."""
        self.can_stop = self._tape.can_stop(within)
        """True if the run may be stopped here."""
        known = self._tape.recall(step.label, step.digest)
        given = self._tape.changes(step.label) or self._tape.changes(self.mark)
        if known is not None:
            self.answers = known
        elif given.keys() == requests.keys():
            self.answers = given
            self.answered(given)

    def answered(self, answers: Answers) -> None:
        """Record what the caller said."""
        seconds = round(time.perf_counter() - self._clock, 6)
        outputs = None
        with suppress(Unkept):
            outputs = pack(dict(answers)).decode()
        self._tape.tell(self._step.model_copy(update={"seconds": seconds, "outputs": outputs}))


def lasting(requests: Mapping[str, Json]) -> Json:
    """The requests without what differs each time."""
    return {key: {**wanted, "params": without(wanted)} for key, wanted in requests.items()}


def without(wanted: Json) -> Json:
    return {name: value for name, value in cast(Json, wanted.get("params", {})).items() if name != ONCE}
