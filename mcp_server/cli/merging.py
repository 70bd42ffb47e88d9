"""One entry put into a client's configuration: the rest of the file stays as it is, byte for byte.

What comes out is parsed and compared with what was meant before anybody writes it; a file that is laid out in
a way that is not understood is refused rather than changed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import yaml

from ..errors import Unusable
from ..models import Json

Format = Literal["json", "toml", "yaml"]

_SKIPPED = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMA = re.compile(r'"(?:\\.|[^"\\\n])*"|,(?=\s*[}\]])')
"""A trailing comma; strings are matched too, so that nothing inside them is."""


def merged(text: str, form: Format, section: str, name: str, entry: Json) -> str:
    """The text with the entry `name` in its section. What one of that name said beyond it, say `env`, stays.

    Raises `Unusable` for a text that cannot be read or not be changed safely.
    """
    try:
        before = parsed(text, form)
        known: Json = before.get(section) or {}
        entry = {**known.get(name, {}), **entry}
        wanted: Json = {**before, section: {**known, name: entry}}
        after = _WRITERS[form](text, section, name, entry, name in known)
        done = parsed(after, form) == wanted
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, yaml.YAMLError):
        done, after = False, ""
    if not done:
        raise Unusable("the file is not laid out as expected; add what --print shows by hand")
    return after


def parsed(text: str, form: Format) -> Json:
    """What the text says; an empty one says nothing."""
    if form == "toml":
        return tomllib.loads(text)
    if form == "yaml":
        return yaml.safe_load(text) or {}
    return json.loads(_plain(text)) if text.strip() else {}


def _plain(text: str) -> str:
    """JSON without comments and trailing commas, everything at the place where it was."""
    text = _SKIPPED.sub(lambda found: found[0] if found[0][0] == '"' else _blank(found[0]), text)
    return _COMMA.sub(lambda found: found[0] if found[0][0] == '"' else " ", text)


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _json(text: str, section: str, name: str, entry: Json, known: bool) -> str:
    if not text.strip():
        return json.dumps({section: {name: entry}}, indent=2, ensure_ascii=False) + "\n"
    plain = _plain(text)
    root = _members(plain, plain.index("{"))
    if section not in root:
        return _inserted(text, plain, plain.index("{"), section, {name: entry}, 1)
    start = root[section][0]
    if known:
        place, end = _members(plain, start)[name]
        return text[:place] + _indented(entry, 2) + text[end:]
    return _inserted(text, plain, start, name, entry, 2)


def _inserted(text: str, plain: str, start: int, key: str, value: Json, depth: int) -> str:
    """The text with a first member in the object that begins at `start`."""
    margin = "\n" + "  " * depth
    rest = "," if plain[start + 1 :].lstrip()[0] != "}" else "\n" + "  " * (depth - 1)
    return f"{text[: start + 1]}{margin}{json.dumps(key)}: {_indented(value, depth)}{rest}{text[start + 1 :]}"


def _indented(value: Json, depth: int) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\n" + "  " * depth)


def _members(plain: str, start: int) -> dict[str, tuple[int, int]]:
    """Of the object that begins at `start`, where the value of each member begins and ends."""
    decoder, found, place = json.JSONDecoder(), dict[str, tuple[int, int]](), _after(plain, start + 1)
    while plain[place] != "}":
        key, place = decoder.raw_decode(plain, place)
        value = _after(plain, _after(plain, place) + 1)  # past the colon
        _, end = decoder.raw_decode(plain, value)
        found[key] = (value, end)
        place = _after(plain, end)
        place = _after(plain, place + 1) if plain[place] == "," else place
    return found


def _after(plain: str, place: int) -> int:
    """The next place that is no blank."""
    while plain[place].isspace():
        place += 1
    return place


def _toml(text: str, section: str, name: str, entry: Json, known: bool) -> str:
    lines = [f"[{section}.{_key(name)}]", *(f"{key} = {_toml_value(value)}" for key, value in entry.items())]
    block = "\n".join(lines) + "\n"
    if not known:
        return f"{text.rstrip()}\n\n{block}" if text.strip() else block
    head = re.escape(section) + r"\s*\.\s*" + f'(?:{re.escape(name)}|"{re.escape(name)}")'
    table = rf"^\[\s*{head}\s*\][^\n]*\n(?:[ \t]*[^\s\[][^\n]*\n?)*"
    return re.sub(table, lambda _: block, text, count=1, flags=re.MULTILINE)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _toml_value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and lists of strings are spelled alike


def _yaml(text: str, section: str, name: str, entry: Json, known: bool) -> str:
    block = yaml.safe_dump({name: entry}, sort_keys=False, allow_unicode=True, width=10_000)
    indented = "".join(f"  {line}\n" for line in block.splitlines())
    head = re.search(rf"^{re.escape(section)}:[ \t]*(?:\{{\}})?[ \t]*\n?", text, re.MULTILINE)
    if head is None:
        return f"{text.rstrip()}\n{section}:\n{indented}".lstrip()
    rest = text[head.end() :]
    if known:
        rest = re.sub(
            rf"^  {re.escape(name)}:[^\n]*\n(?:(?:   [^\n]*|[ \t]*)\n)*",
            "",
            rest,
            count=1,
            flags=re.MULTILINE,
        )
    return f"{text[: head.start()]}{section}:\n{indented}{rest}"


_WRITERS: Mapping[Format, Callable[[str, str, str, Json, bool], str]] = MappingProxyType(
    {"json": _json, "toml": _toml, "yaml": _yaml}
)
