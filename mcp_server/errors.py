"""Everything that can be refused, as one family. A failed run is not here: it is data (`Result.is_error`).

ServerError
├── NotFound      a pipeline, version or run that does not exist, or that this caller may not see
├── Invalid       arguments, a name or a source the server cannot accept
│   └── Broken    a source that was read but does not load; carries the problem with file and line
├── Conflict      a change that the present state does not allow, such as deploying over a name
├── Unavailable   the server cannot do it now (stopping, overloaded, still starting)
│   ├── Overloaded  it has more to do than it can; says after how many seconds to try again
│   ├── Unanswered  a model that was needed did not answer
│   ├── Unreachable  the tracking server cannot be reached, or speaks no HTTP
│   └── Late        the tracking server did not answer in time
├── Limited       this caller asked more often than it may; says after how many seconds to try again
└── Unusable      a setting or a place the server cannot start with; the command line exits with 2
    └── Outdated  a state that a newer release wrote

Texts are short, say what to do, and are safe to show to any caller: no traceback, secret or path.
"""

from __future__ import annotations

from .models import Problem


class ServerError(Exception):
    """Base of every refusal a surface may show to a caller."""


class NotFound(ServerError):
    """A pipeline, version or run that does not exist, or that this caller may not see."""


class Invalid(ServerError):
    """Arguments, a name or a source the server cannot accept."""


class Broken(Invalid):
    """A source that was read but does not load."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class Conflict(ServerError):
    """A change that the present state does not allow."""


class Unavailable(ServerError):
    """The server cannot do it now."""


class Overloaded(Unavailable):
    """There is more to do than can be done. `after` is when to try again, in seconds."""

    def __init__(self, text: str, after: float) -> None:
        super().__init__(text)
        self.after = after


class Limited(ServerError):
    """The caller asked more often than it may. `after` is when to try again, in seconds."""

    def __init__(self, text: str, after: float) -> None:
        super().__init__(text)
        self.after = after


class Unanswered(Unavailable):
    """A model that was needed did not answer."""


class Unreachable(Unavailable):
    """The tracking server cannot be reached, or speaks no HTTP."""


class Late(Unavailable):
    """The tracking server did not answer in time."""


class Unusable(ServerError):
    """A setting or a place the server cannot start with."""


class Outdated(Unusable):
    """A state that a newer release of this server wrote."""
