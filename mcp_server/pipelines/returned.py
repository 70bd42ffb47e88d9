"""A pipeline that returns questions: it ends with them, and is called again once they are answered.

While it waits it needs no host. Its return annotation says that it may: `-> str | Form`. It finds the
answers to what it returned, by key, in `context.answers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

from .questions import Ask, Form, Link, Roots, Sampling

KEY = "answer"
"""The key of a question that is returned alone."""
MOST = 100
"""Rounds of questions that one run may return."""
KINDS = (Form, Link, Roots, Sampling)


def asked_by(annotation: Any) -> tuple[Any, bool]:
    """What else a function gives by its return annotation, and if it may return questions."""
    if get_origin(annotation) not in (Union, UnionType):
        return (Any, True) if is_question(annotation) else (annotation, False)
    arms = get_args(annotation)
    others = [arm for arm in arms if not is_question(arm)]
    if len(others) == len(arms):
        return annotation, False
    return Union[*others], True  # pyright: ignore


def is_question(annotation: Any) -> bool:
    """True for one kind of question, and for several by their keys."""
    if get_origin(annotation) is dict:
        return is_question(get_args(annotation)[-1])
    arms = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    return all(arm in KINDS for arm in arms)


def questions_in(value: Any) -> Mapping[str, Ask]:
    """The questions that were returned, by key; none if the value is a result."""
    if isinstance(value, KINDS):
        return {KEY: value}
    if isinstance(value, dict) and value:
        given = cast(dict[Any, Any], value)
        if all(isinstance(key, str) and isinstance(each, KINDS) for key, each in given.items()):
            return cast(Mapping[str, Ask], given)
    return {}
