"""Haystack's evaluators as a pipeline of our own: it runs in a host, as every pipeline does."""

from __future__ import annotations

from typing import Any

from haystack import Document
from haystack.components import evaluators


class PipelineWrapper:
    """No base class, so that it imports nothing of ours."""

    def run_api(
        self, names: list[str], expected: list[list[str]], given: list[list[str]]
    ) -> dict[str, float]:
        """Score what was given.

        Args:
            names: Evaluators, by the names of their classes.
            expected: Of each case the texts that are expected.
            given: Of each case the texts that were given, best first.
        """
        return {name: score(getattr(evaluators, name)(), expected, given) for name in names}


def score(evaluator: Any, expected: list[list[str]], given: list[list[str]]) -> float:
    """The score of one evaluator, for answers or for documents."""
    if isinstance(evaluator, evaluators.AnswerExactMatchEvaluator):
        answers = ["\n".join(each) for each in expected], ["\n".join(each) for each in given]
        found = evaluator.run(ground_truth_answers=answers[0], predicted_answers=answers[1])
    else:
        found = evaluator.run(
            ground_truth_documents=documents(expected), retrieved_documents=documents(given)
        )
    return float(found["score"])


def documents(cases: list[list[str]]) -> list[list[Document]]:
    """Each text as a document."""
    return [[Document(content=text) for text in case] for case in cases]
