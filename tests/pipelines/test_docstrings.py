"""Docstrings become descriptions: nothing is lost, nothing is said twice."""

from __future__ import annotations

import pytest

from mcp_server.pipelines.docstrings import documentation

GOOGLE = """Find documents.

    Searches titles and bodies.

    Args:
        query: What to look for:
            a question or keywords.
        top_k (int): How many.

    Returns:
        The best ones first.
    """
NUMPY = """Find documents.

    Searches titles and bodies.

    Parameters
    ----------
    query : str
        What to look for:
        a question or keywords.
    top_k : int, optional
        How many.

    Returns
    -------
    list
        The best ones first.
    """
REST = """Find documents.

    Searches titles and bodies.

    :param query: What to look for:
        a question or keywords.
    :param int top_k: How many.
    :returns: The best ones first.
    """


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST])
def test_parameters_move_and_the_rest_stays(docstring: str) -> None:
    told = documentation(docstring, ["query", "top_k", "context"])
    assert told.parameters == {"query": "What to look for: a question or keywords.", "top_k": "How many."}
    assert told.description.startswith("Find documents.\n\nSearches titles and bodies.\n\n")
    assert "The best ones first." in told.description
    assert "How many" not in told.description
    assert "keywords" not in told.description
    assert "top_k" not in told.description


@pytest.mark.parametrize("docstring", [GOOGLE, NUMPY, REST])
def test_a_section_about_something_else_too_stays_whole(docstring: str) -> None:
    told = documentation(docstring, ["query"])
    assert told.parameters == {"query": "What to look for: a question or keywords."}
    assert "How many." in told.description


def test_text_after_the_section_stays() -> None:
    told = documentation(
        "Find.\n\nArgs:\n    query: What.\n\n        Also this.\n\nSee the manual:\n    chapter 2", ["query"]
    )
    assert told.description == "Find.\n\nSee the manual:\n    chapter 2"


def test_text_after_a_numpy_section_stays() -> None:
    text = "Find.\n\nParameters\n----------\nquery : str\n    What.\n\nMore words, of no section."
    assert documentation(text, ["query"]).description == "Find.\n\nMore words, of no section."


def test_plain_text_is_the_description() -> None:
    told = documentation("Args and: colons.\n\n    - a: list\n", ["a"])
    assert told.description == "Args and: colons.\n\n- a: list"
    assert told.parameters == {}


def test_no_docstring_says_nothing() -> None:
    assert documentation(None, ["a"]).description == ""


def test_a_long_description_is_whole() -> None:
    assert documentation("é" * 600, []).description == "é" * 600


def test_a_section_that_cannot_be_read_stays() -> None:
    text = "Find.\n\nArgs:\n    the usual ones\n"
    assert documentation(text, ["query"]).description == text.strip()
