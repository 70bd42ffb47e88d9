"""Metrics over golden cases: what was expected against what was given. Pure functions of values.

A case expects a value, or an object with some fields of the answer: what it does not name does not matter,
also in the objects of a list. For precision, recall and F1 the cases of a dataset expect either labels (a
text, number or boolean), which are averaged over the labels (macro), or lists, whose items count as a set
and are averaged over the cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import orjson

from ..errors import Invalid
from ..models import Json


@dataclass(frozen=True)
class Outcome:
    """What a case expected, and what its run gave, cut to what is expected. `ran` is false if it failed."""

    expected: Any
    given: Any
    ran: bool = True

    @property
    def agrees(self) -> bool:
        """True if it is what was expected."""
        return self.ran and same(self.expected, self.given)


def outcome(expected: Any, given: Any, *, ran: bool = True) -> Outcome:
    """One case, ready to be measured."""
    return Outcome(expected, cut(given, expected), ran)


def cut(given: Any, expected: Any) -> Any:
    """The part of `given` that `expected` speaks of."""
    if isinstance(given, dict) and isinstance(expected, dict):
        known, named = cast(Json, given), cast(Json, expected)
        return {key: cut(known[key], each) for key, each in named.items() if key in known}
    if isinstance(given, list) and isinstance(expected, list):
        shape: Json = {}
        for each in cast(list[Any], expected):
            shape |= cast(Json, each) if isinstance(each, dict) else {}
        return [cut(each, shape) if shape else each for each in cast(list[Any], given)]
    return cast(Any, given)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON, where true is not 1."""
    return packed(one) == packed(other)


def packed(value: Any) -> str:
    """The same text for the same value; whole numbers are the same with and without a fraction."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        return f"[{','.join(map(packed, cast(list[Any], value)))}]"
    if isinstance(value, dict):
        members = sorted(cast(Json, value).items())
        return f"{{{','.join(f'{packed(key)}:{packed(each)}' for key, each in members)}}}"
    return orjson.dumps(value).decode() if not isinstance(value, int) else str(value).lower()


def single(value: Any) -> Any:
    """The value of the only field of an object, else the value."""
    members = cast(Json, value) if isinstance(value, dict) else {}
    return next(iter(members.values())) if len(members) == 1 else cast(Any, value)


def exact_match(outcomes: Sequence[Outcome]) -> float:
    """The share of cases whose answer is the expected one."""
    return mean([float(each.agrees) for each in outcomes])


def accuracy(outcomes: Sequence[Outcome]) -> float:
    """The same, where capital letters and space around a text do not matter."""
    plain = [Outcome(plainly(each.expected), plainly(each.given), each.ran) for each in outcomes]
    return exact_match(plain)


def plainly(value: Any) -> Any:
    """A label as accuracy compares it."""
    value = single(value)
    return value.strip().casefold() if isinstance(value, str) else value


@dataclass(frozen=True)
class Hits:
    """Of a label or a case: how many were right, given, and expected."""

    right: int
    given: int
    expected: int

    @property
    def precision(self) -> float:
        return self.right / self.given if self.given else float(not self.expected)

    @property
    def recall(self) -> float:
        return self.right / self.expected if self.expected else float(not self.given)

    @property
    def f1(self) -> float:
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def precision(outcomes: Sequence[Outcome]) -> float:
    """Of what was given, how much was expected."""
    return mean([each.precision for each in hits(outcomes)])


def recall(outcomes: Sequence[Outcome]) -> float:
    """Of what was expected, how much was given."""
    return mean([each.recall for each in hits(outcomes)])


def f1_score(outcomes: Sequence[Outcome]) -> float:
    """The harmonic mean of precision and recall, of each label or case."""
    return mean([each.f1 for each in hits(outcomes)])


def hits(outcomes: Sequence[Outcome]) -> list[Hits]:
    """By label, or by case where lists are expected. Raises `Invalid` for cases of which neither is true."""
    expected = [single(each.expected) for each in outcomes]
    given = [single(each.given) if each.ran else None for each in outcomes]
    if all(isinstance(each, list) for each in expected):
        pairs = [(items(one), items(other)) for one, other in zip(expected, given, strict=True)]
        return [Hits(len(one & other), len(other), len(one)) for one, other in pairs]
    if any(isinstance(each, list | dict) for each in expected):
        raise Invalid("precision, recall and f1_score need cases that all expect a label, or all a list.")
    told = [packed(each) for each in expected]
    said = [packed(each) for each in given]
    pairs_of = list(zip(told, said, strict=True))
    return [
        Hits(pairs_of.count((label, label)), said.count(label), told.count(label))
        for label in sorted({*told, *(each for each in said if each != "null")})
    ]


def items(value: Any) -> frozenset[str]:
    """The items of a list as a set."""
    return frozenset(map(packed, cast(list[Any], value))) if isinstance(value, list) else frozenset()


def mean(values: Sequence[float]) -> float:
    """The average."""
    return round(sum(values) / len(values), 10) if values else 0.0


METRICS: Mapping[str, Callable[[Sequence[Outcome]], float]] = MappingProxyType(
    {each.__name__: each for each in (exact_match, accuracy, precision, recall, f1_score)}
)
EVALUATORS = (
    "AnswerExactMatchEvaluator",
    "DocumentMAPEvaluator",
    "DocumentMRREvaluator",
    "DocumentNDCGEvaluator",
    "DocumentRecallEvaluator",
)
"""Haystack's own that need no model; they are run where pipelines are."""


def check(names: Sequence[str]) -> None:
    """Raise `Invalid` for no metric, and for one that is not known."""
    known = (*METRICS, *EVALUATORS)
    if unknown := [name for name in names if name not in known]:
        raise Invalid(f"There is no metric {unknown[0][:64]}; there are {', '.join(known)}.")
    if not names:
        raise Invalid(f"Name at least one metric of {', '.join(known)}.")


def texts(outcomes: Sequence[Outcome]) -> tuple[list[list[str]], list[list[str]]]:
    """What was expected and given, as Haystack's evaluators take it: of each case the texts of its items."""
    given = ([] if not each.ran else listed(single(each.given)) for each in outcomes)
    return [listed(single(each.expected)) for each in outcomes], list(given)


def listed(value: Any) -> list[str]:
    """The items of a list, or the value alone; as they are if they are texts, else as JSON."""
    known: list[Any] = cast(list[Any], value) if isinstance(value, list) else [value]
    return [each if isinstance(each, str) else packed(single(each)) for each in known]
