"""Templates of resource URIs: RFC 6570 level 1, and of level 2 the reserved expansion `{+path}`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote, unquote

_VARIABLE = re.compile(r"\{(\+?)([A-Za-z_][A-Za-z0-9_]*)\}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.")
_RESERVED = ":/?#[]@!$&'()*+,;="


@dataclass(frozen=True)
class Template:
    """A URI with variables in braces, or (without any) just a URI.

    Raises `ValueError` for a text that is neither.
    """

    text: str

    def __post_init__(self) -> None:
        rest = _VARIABLE.sub("x", self.text)
        if not _SCHEME.match(rest):
            raise ValueError("a URI begins with a scheme, as in `handbook://chapters/1`")
        if set(rest) & set(" {}\n\t"):
            raise ValueError("a variable is written `{name}`, and a URI holds no spaces")
        if len(set(self.names)) < len(self.names):
            raise ValueError("a variable stands in a URI only once")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The variables, in the order in which they stand."""
        return tuple(name for _, name in _VARIABLE.findall(self.text))

    def values(self, uri: str) -> dict[str, str] | None:
        """The values that make the template this URI, decoded; None if none do."""
        found = self._pattern.fullmatch(uri)
        return found and {name: unquote(text) for name, text in found.groupdict().items()}

    def uri(self, **values: str) -> str:
        """The URI with these values in it."""

        def encoded(variable: re.Match[str]) -> str:
            return quote(values[variable[2]], safe=_RESERVED if variable[1] else "")

        return _VARIABLE.sub(encoded, self.text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Each value has a character at least; only a reserved expansion goes over a `/`."""
        pattern, end = "", 0
        for variable in _VARIABLE.finditer(self.text):
            kind = ".+" if variable[1] else "[^/?#]+"
            pattern += re.escape(self.text[end : variable.start()]) + f"(?P<{variable[2]}>{kind})"
            end = variable.end()
        return re.compile(pattern + re.escape(self.text[end:]), re.DOTALL)
