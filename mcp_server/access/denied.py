"""The refusal of a credential."""

from __future__ import annotations

INVALID = "Invalid or expired API key"


class Denied(Exception):
    """A credential that is no good; the text says why and is safe to show. Answered with 401."""
