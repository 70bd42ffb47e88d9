"""Finding pipelines by words: BM25 over what each of them says of itself. In memory, made once per list."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from heapq import nsmallest
from typing import Any, cast

from ...models import Json

SATURATION = 1.2
LENGTH = 0.75
"""The two constants of BM25 (Robertson and Zaragoza 2009): how soon repeated words and long texts stop to
count."""

NAME, TITLE, TAG, DESCRIPTION, PARAMETER = 3, 2, 2, 1, 1
"""How often a word counts by where it stands."""

DEPTH = 4
"""Levels of a schema whose names and descriptions are searched."""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\d_\u3040-\u30ff\u3400-\u9fff]+|\d+")
"""A word; each sign of a script that writes none apart."""
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")
_ENDING = re.compile(r"(?<=[^\W\d_]{3})(?:ing|ed|es|(?<!s)s|e)\b")
"""English endings that questions and descriptions differ in."""


class Index:
    """The words of all pipelines. Immutable; searching touches only pipelines that have one of the words."""

    def __init__(self, tools: Mapping[str, Json], tags: Mapping[str, Sequence[str]]) -> None:
        """`tools` are in wire form, both by the name of the pipeline."""
        texts = {name: _counted(tool, tags.get(name, ())) for name, tool in tools.items()}
        self._names = sorted(tools)
        total = sum(count.total() for count in texts.values())
        usual = total / max(1, len(texts))
        self._weights: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for name, counts in texts.items():
            slowness = SATURATION * (1 - LENGTH + LENGTH * counts.total() / usual) if usual else SATURATION
            for word, count in counts.items():
                self._weights[word][name] = count * (SATURATION + 1) / (count + slowness)

    def search(self, query: str, limit: int) -> list[str]:
        """The names of the pipelines that fit best, best first; without a word, the first by name."""
        asked = set(words(query))
        if not asked:
            return self._names[:limit]
        scores: Counter[str] = Counter()
        for word in asked & self._weights.keys():
            having = self._weights[word]
            rarity = math.log(1 + (len(self._names) - len(having) + 0.5) / (len(having) + 0.5))
            for name, weight in having.items():
                scores[name] += rarity * weight  # pyright: ignore[reportArgumentType]  # counts may be floats
        return nsmallest(limit, scores, key=lambda name: (-scores[name], name))


def words(text: str) -> list[str]:
    """The words of a text, a name in camel or snake case too: in lower case, without common endings."""
    return _WORD.findall(_ENDING.sub("", _HUMP.sub(" ", text).lower()))


def _counted(tool: Json, tags: Sequence[str]) -> Counter[str]:
    """Every word of a tool, with how often it counts."""
    parts = [(tool["name"], NAME), (tool.get("title", ""), TITLE), (" ".join(tags), TAG)]
    parts += [(tool.get("description", ""), DESCRIPTION)]
    parts += [("\n".join(_texts(tool["inputSchema"], DEPTH)), PARAMETER)]
    counted: Counter[str] = Counter()
    for text, times in parts:
        for word in words(text):
            counted[word] += times
    return counted


def _texts(schema: Any, depth: int) -> Iterator[str]:
    """The names and descriptions of the parameters in a schema."""
    if not isinstance(schema, dict) or not depth:
        return
    known = cast(Json, schema)
    properties: Any = known.get("properties")
    for name, part in cast(Json, properties).items() if isinstance(properties, dict) else ():
        yield name
        if isinstance(part, dict):
            description: Any = cast(Json, part).get("description")
            yield description if isinstance(description, str) else ""
        yield from _texts(part, depth - 1)
    yield from _texts(known.get("items"), depth - 1)
