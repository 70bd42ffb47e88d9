"""Circuit breakers: when they open, let a call through, and close; with a clock that the test moves."""

from __future__ import annotations

import pytest

from mcp_server.errors import Unavailable
from mcp_server.limits.breaker import LONGEST
from mcp_server.models import Fault, Result, Run, RunStatus
from mcp_server.runs.breakers import Breakers


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breakers(clock: Clock) -> Breakers:
    return Breakers(limit=3, pause=5.0, clock=clock)


def run(identity: str = "r", digest: str = "d", **more: object) -> Run:
    return Run.model_validate(
        {"id": identity, "pipeline": "flaky", "version": 1, "digest": digest, "inputs": {}, "timeout": 1.0}
        | more
    )


def ends(breakers: Breakers, status: RunStatus, count: int = 1, **more: object) -> None:
    for _ in range(count):
        breakers.ended(run(status=status, error="no upstream", **more))


def test_a_pipeline_that_failed_too_often_in_a_row_is_refused_with_the_reason(breakers: Breakers) -> None:
    ends(breakers, "failed", 2)
    breakers.check(run())
    ends(breakers, "failed")
    with pytest.raises(Unavailable, match=r"failed 3 times in a row; call it again in 5 s.*no upstream"):
        breakers.check(run())
    assert breakers.states()["flaky"]["state"] == "open"


def test_one_success_in_between_begins_the_count_anew(breakers: Breakers) -> None:
    ends(breakers, "failed", 2)
    ends(breakers, "done")
    ends(breakers, "failed", 2)
    breakers.check(run())


def test_after_the_pause_one_call_is_let_through_and_decides(breakers: Breakers, clock: Clock) -> None:
    ends(breakers, "failed", 3)
    clock.now += 5
    breakers.check(run("trial"))
    assert breakers.states()["flaky"]["state"] == "half_open"
    with pytest.raises(Unavailable):
        breakers.check(run("other"))
    breakers.ended(run("trial", status="done"))
    breakers.check(run("other"))
    assert breakers.states() == {}


def test_each_failed_trial_doubles_the_pause_up_to_a_minute(breakers: Breakers, clock: Clock) -> None:
    ends(breakers, "failed", 3)
    pauses: list[float] = []
    for _ in range(6):
        pauses.append(breakers.states()["flaky"]["seconds"])
        clock.now += pauses[-1]
        breakers.check(run("trial"))
        breakers.ended(run("trial", status="failed", error="still"))
    assert pauses == [5, 10, 20, 40, LONGEST, LONGEST]


def test_a_trial_that_never_ends_makes_room_for_another_one(breakers: Breakers, clock: Clock) -> None:
    ends(breakers, "failed", 3)
    clock.now += 5
    breakers.check(run("lost"))
    clock.now += 5
    breakers.check(run("second"))


def test_runs_that_began_before_the_trial_do_not_prolong_the_pause(breakers: Breakers, clock: Clock) -> None:
    ends(breakers, "failed", 3)
    clock.now += 5
    breakers.check(run("trial"))
    breakers.ended(run("late", status="failed", error="late"))
    assert breakers.states()["flaky"]["failures"] == 4
    breakers.ended(run("trial", status="done"))
    breakers.check(run("next"))


@pytest.mark.parametrize(
    "how",
    [
        {"status": "cancelled"},
        {"status": "failed", "result": Result(content=b"[]", is_error=True, refused=True)},
        {
            "status": "failed",
            "result": Result(content=b"[]", is_error=True, fault=Fault(code=1, message="x")),
        },
    ],
)
def test_what_says_nothing_about_the_pipeline_is_not_counted(
    breakers: Breakers, how: dict[str, object]
) -> None:
    for _ in range(10):
        breakers.ended(run(**how))
    breakers.check(run())


def test_a_new_version_begins_anew(breakers: Breakers) -> None:
    ends(breakers, "failed", 3)
    breakers.check(run(digest="new"))
    ends(breakers, "failed", 1, digest="new")
    breakers.check(run(digest="new"))


def test_a_reset_closes_it(breakers: Breakers) -> None:
    ends(breakers, "failed", 3)
    assert breakers.reset("flaky") and not breakers.reset("flaky")
    breakers.check(run())


def test_a_limit_of_nought_never_refuses() -> None:
    breakers = Breakers(limit=0, pause=5.0)
    ends(breakers, "failed", 100)
    breakers.check(run())


def test_reading_what_a_pipeline_publishes_is_never_refused(breakers: Breakers) -> None:
    ends(breakers, "failed", 3)
    breakers.check(run(verb="read"))
