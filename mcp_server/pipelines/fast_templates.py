"""Haystack's environment of Jinja templates that compiles each text once.

Prompt builders, routers and adapters compile their templates anew in every run, which takes longer than all
else that a small pipeline does.
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any

from haystack.utils.jinja2_sandbox import HaystackSandboxedEnvironment

MOST = 100
"""Texts that an environment remembers."""
LONGEST = 100_000
"""Characters of each of them; callers may give templates, too."""


class FastEnvironment(HaystackSandboxedEnvironment):
    """An environment that makes the templates that `HaystackSandboxedEnvironment` makes."""

    _codes: tuple[FastEnvironment, dict[str, CodeType]] | None = None
    """By text, with its owner: an overlay gets all attributes, and compiles in another way."""

    def compile(self, source: Any, *how: Any, **named: Any) -> Any:
        """As Jinja's, whose environments must not change once they have compiled something."""
        compiled: Callable[..., Any] = super().compile
        if type(source) is not str or how or any(named.values()) or len(source) > LONGEST:
            return compiled(source, *how, **named)
        if self._codes is None or self._codes[0] is not self:
            self._codes = self, {}
        _, codes = self._codes
        code = codes.get(source)
        if code is None:
            code = compiled(source)
            if len(codes) >= MOST:
                codes.clear()
            codes[source] = code
        return code


def fits() -> bool:
    """True if this Haystack and this Jinja make the same of a template that is compiled once."""
    text = "{% for each in several %}{{ each|upper }}{{ loop.index }}{% endfor %}"
    plain, fast = HaystackSandboxedEnvironment(), FastEnvironment()
    made = {env.from_string(text).render(several="ab") for env in (plain, fast, fast)}
    return made == {"A1B2"} and fast.compile(text) is fast.compile(text)
