"""What answers are worth: values that can be checked by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mcp_server.errors import Invalid
from mcp_server.evaluation.metrics import METRICS, Outcome, check, outcome, same

LABELS = [("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("bird", "Bird ")]
LISTS = [(["a", "b"], ["a"]), (["a"], ["a", "c"]), ([], [])]


def measured(metric: str, pairs: list[tuple[Any, Any]]) -> float:
    return METRICS[metric]([outcome(*pair) for pair in pairs])


@pytest.mark.parametrize(
    ("metric", "pairs", "value"),
    [
        ("exact_match", LABELS, 0.5),
        ("accuracy", LABELS, 0.75),
        # bird, Bird, cat, dog: right 0, 0, 1, 1; given 0, 1, 1, 2; expected 1, 0, 2, 1
        ("precision", LABELS, (0 + 0 + 1 + 1 / 2) / 4),
        ("recall", LABELS, (0 + 0 + 1 / 2 + 1) / 4),
        ("f1_score", LABELS, (0 + 0 + 2 / 3 + 2 / 3) / 4),
        ("precision", LISTS, (1 + 1 / 2 + 1) / 3),
        ("recall", LISTS, (1 / 2 + 1 + 1) / 3),
        ("f1_score", LISTS, (2 / 3 + 2 / 3 + 1) / 3),
        ("exact_match", [({"a": 1}, {"a": 1, "b": 2}), ({"a": 1}, {"b": 2})], 0.5),
        ("exact_match", [([{"n": "x"}], [{"n": "x", "score": 0.5}])], 1.0),
        ("exact_match", [(1, 1.0), (True, 1), (None, None)], 2 / 3),
    ],
)
def test_metrics_are_what_they_are_by_hand(metric: str, pairs: list[tuple[Any, Any]], value: float) -> None:
    assert measured(metric, pairs) == pytest.approx(value)


@pytest.mark.parametrize("metric", METRICS)
def test_a_case_whose_run_failed_counts_as_wrong(metric: str) -> None:
    assert METRICS[metric]([Outcome("x", None, ran=False)]) == 0.0
    assert METRICS[metric]([Outcome(["x"], None, ran=False)]) == 0.0
    assert not Outcome(None, None, ran=False).agrees


def test_what_metrics_cannot_measure_is_refused() -> None:
    for pairs in ([("a", "a"), (["a"], ["a"])], [({"a": 1, "b": 2}, {})]):
        with pytest.raises(Invalid, match="all expect a label, or all a list"):
            measured("precision", pairs)
    with pytest.raises(Invalid, match="no metric luck"):
        check(["accuracy", "luck"])
    with pytest.raises(Invalid, match="at least one"):
        check([])


def test_values_are_compared_as_json() -> None:
    assert same({"a": [1, 2.0]}, {"a": [1.0, 2]}) and not same([1, 2], [2, 1])
    assert not same(True, 1) and not same("1", 1) and same({"a": 1, "b": 2}, {"b": 2, "a": 1})
