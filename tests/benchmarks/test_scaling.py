"""The simulation agrees with the formula for what is exhausted, and with queueing theory for the waits."""

from __future__ import annotations

import pytest

from .scaling import Shape, Simulation, bound

SHAPES = {
    "the front": Shape(front=300, host=50, work=100, replicas=4),
    "the hosts": Shape(front=50, host=50, work=450, replicas=3),
    "the slots": Shape(front=50, host=50, wait=100_000, slots=32),
    "several fronts": Shape(front=300, host=50, work=1000, replicas=5, fronts=4),
}


@pytest.mark.parametrize("name", SHAPES)
def test_more_than_it_can_answer_is_answered_as_fast_as_the_formula_says(name: str) -> None:
    most = bound(SHAPES[name])
    assert Simulation(SHAPES[name]).run(2 * most).rate == pytest.approx(most, rel=0.03)


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_a_single_host_makes_its_callers_wait_as_long_as_theory_says(load: float) -> None:
    shape = Shape(front=0.001, host=0, work=1000, slots=1_000_000)
    expected = 1000 * (1 + load / (2 * (1 - load)))  # M/D/1, Pollaczek and Khinchine
    assert Simulation(shape).run(load * bound(shape), calls=60_000).mean == pytest.approx(expected, rel=0.06)


def test_a_database_and_cores_bound_what_fronts_can_answer_together() -> None:
    shape = Shape(front=100, host=100, record=20, fronts=100, replicas=4)
    assert bound(shape) == pytest.approx(50_000)
    assert bound(Shape(front=100, host=300, cores=2)) == pytest.approx(1e6 / 300)
    assert bound(Shape(front=100, host=300, cores=1)) == pytest.approx(1e6 / 400)
