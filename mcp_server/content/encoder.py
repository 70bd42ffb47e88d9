"""Any value as JSON bytes, and the content blocks of the media found in it.

Two ways to the same answer. orjson walks what is plain and asks for one level of anything else: fast. What
it refuses (keys that are not text, huge integers, broken Unicode, cycles, depth) is walked here: exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, cast

import orjson
from pydantic_core import to_jsonable_python

from ..models import Json
from .forms import form
from .libraries import unique
from .media import InnerBlock, Media, placeholder

DEPTH = 64
"""Objects and arrays within each other; parsers in the field give up at 100 to 200."""

_LIMIT = 254  # containers that orjson descends into before it refuses
_PADDING = _LIMIT - DEPTH
_Fragment: Any = vars(orjson)["Fragment"]  # missing from orjson's type stubs
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_UTC_Z


def encode(value: object, first: int = 1) -> tuple[bytes, list[Json]]:
    """The value as JSON, and the content blocks it refers to; `first` is the index of the first of them.

    What has no form leaves a short note in its place. Raises no `Exception`, unless a container changes or
    fails while it is walked.
    """
    quick = _Encoder(first)
    try:
        return quick.dump(value), quick.blocks
    except orjson.JSONEncodeError as error:
        if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
            raise error.__cause__ from None  # the run was stopped, or the value tried to end the process
        exact = _Encoder(first)
        return orjson.dumps(exact.walk(value), option=_OPTIONS), exact.blocks


def dump(value: object) -> bytes:
    """The value, which is JSON but for its Unicode perhaps, as JSON."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return orjson.dumps(_Encoder().walk(value))


def note(value: object) -> str:
    """What stands where a value cannot: its type and what to do, never its repr."""
    return f"{type(value).__name__} cannot be shown: return a dict, a dataclass or a pydantic model"


class _Encoder:
    """Encodes one value and collects its blocks on the way."""

    def __init__(self, first: int = 1) -> None:
        self.blocks: list[Json] = []
        self._first = first

    def dump(self, value: object) -> bytes:
        """As orjson sees it. Wrapped in lists, so that orjson's own limit of depth becomes ours."""
        for _ in range(_PADDING):
            value = [value]
        return orjson.dumps(value, self.level, _OPTIONS)[_PADDING:-_PADDING]

    def level(self, value: object) -> object:
        """One step closer to JSON; never raises."""
        if isinstance(value, Media):
            return self._place(value)
        if isinstance(value, InnerBlock):
            return self._embed(value)
        try:
            shaped = form(value)
        except Exception:  # a value's own code: properties, serializers, iterators of any library
            return note(value)
        return shaped if not isinstance(value, set | frozenset) else self._ordered(cast(list[object], shaped))

    def walk(self, value: Any, depth: int = 0, above: frozenset[int] = frozenset()) -> object:
        """Like `dump`, but to plain Python values, and for everything orjson refuses."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, float):
            return float(value)
        if isinstance(value, Enum):
            return self.walk(value.value, depth, above)
        if isinstance(value, str):
            return valid(value)
        if isinstance(value, int):
            return _integer(value)
        if depth >= DEPTH or len(above) > 3 * DEPTH:
            return "nested too deeply to be shown"
        if id(value) in above:
            return "refers back to itself"
        above |= {id(value)}
        if isinstance(value, dict):
            items = cast(Mapping[object, object], value)
            keys = unique(self._key(key) for key in items)
            return dict(
                zip(keys, (self.walk(item, depth + 1, above) for item in items.values()), strict=True)
            )
        if isinstance(value, list | tuple):
            return [self.walk(item, depth + 1, above) for item in cast(list[object], value)]
        return self.walk(self.level(value), depth, above)

    def _place(self, media: Media) -> str:
        index = self._first + len(self.blocks)
        self.blocks.append(media.block(index))
        return placeholder(index, media.mime_type, len(media.data))

    def _embed(self, inner: InnerBlock) -> Json:
        if inner.block["type"] == "text":
            return inner.block
        self.blocks.append(inner.block)
        return inner.left(self._first + len(self.blocks) - 1)

    def _ordered(self, members: list[object]) -> Sequence[object]:
        """Members of a set in an order that is the same every time."""
        if all(isinstance(member, str) for member in members):
            return sorted(cast(list[str], members))
        return sorted((self.walk(member) for member in members), key=_rank)

    def _key(self, key: Any) -> str:
        """A key of any type as text: as pydantic writes it, else as its JSON."""
        if isinstance(key, Enum):
            return self._key(key.value)
        if isinstance(key, str):
            return valid(key)
        try:
            return next(iter(to_jsonable_python({key: None})))
        except Exception:  # a type pydantic does not know
            shown = self.walk(key)
            return shown if isinstance(shown, str) else orjson.dumps(shown).decode()


def _rank(member: object) -> tuple[bool, float, bytes]:
    """Numbers first, by size; then the rest by their JSON."""
    number = isinstance(member, int | float)
    return not number, member if number else 0.0, orjson.dumps(member)


def _integer(value: int) -> object:
    """JSON knows no largest integer; orjson does."""
    if -(2**63) <= value < 2**64:
        return int(value)
    if value.bit_length() > 14_000:  # Python writes no more than 4300 digits
        return f"an integer of {value.bit_length()} bits"
    return _Fragment(str(int(value)))


def valid(text: str) -> str:
    """The same text as valid Unicode: lone surrogates become question marks."""
    return str.encode(text, "utf-8", "replace").decode()
