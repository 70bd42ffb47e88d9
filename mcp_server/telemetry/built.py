"""What is known of the build: written into the wheel when it is made, absent in a checkout."""

from __future__ import annotations

from importlib.resources import files

import orjson

from ..models import Json

FILE = "built.json"
KEYS = ("build_date", "git_commit")


def built() -> Json:
    """`build_date` (ISO 8601) and `git_commit`; each is None where it is not known."""
    place = files("mcp_server.telemetry") / FILE
    known: Json = orjson.loads(place.read_bytes()) if place.is_file() else {}
    return {key: known.get(key) for key in KEYS}
