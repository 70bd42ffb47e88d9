"""Whether a server starts where it is told to: each bind with each way to know its callers, or none."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from canaries import CANARIES
from clients import START_LIMIT
from clients import command as serving

from mcp_server.cli import posture
from mcp_server.errors import Unusable
from mcp_server.settings import given
from mcp_server.store.key_rows import Keys

from .conftest import create_key, pipelines

LOGIN = "https://login.example.com"
BINDS: Mapping[str, Mapping[str, Any]] = {
    "loopback": {},
    "loopback of IPv6": {"host": "::1"},
    "every address": {"host": "0.0.0.0"},
    "the name of a proxy": {"allowed_hosts": ("mcp.example.com",)},
}
CALLERS: Mapping[str, Mapping[str, Any]] = {
    "nobody": {},
    "a key": {},
    "a revoked key": {},
    "an expired key": {},
    "a token": {"oauth_issuer": LOGIN, "oauth_jwks_url": f"{LOGIN}/jwks", "oauth_resource": LOGIN},
    "everybody": {"insecure_no_auth": True},
}
KNOWN = ("a key", "a token", "everybody")
STARTS = list(product(BINDS, CALLERS))
SHORT = [("every address", "nobody"), ("the name of a proxy", "nobody")]
"""What the short form tries with a process, too."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pipelines, and a state for each kind of callers."""
    place = tmp_path_factory.mktemp("start")
    pipelines(place / "folder", ["greet"])
    for callers in (each for each in CALLERS if each.endswith("key")):
        create_key(place / callers, "only")
        rows = Keys(place / callers / "state.db")
        if callers != "a key":
            rows.change("only", **{"revoked" if "revoked" in callers else "expires": 1.0})
        rows.close()
    return place


@pytest.mark.parametrize(("bind", "callers"), STARTS)
def test_whoever_is_reached_from_elsewhere_must_know_its_callers(
    place: Path, bind: str, callers: str
) -> None:
    settings = given(folder=place / "folder", state=place / callers, **BINDS[bind], **CALLERS[callers])
    if "loopback" in bind or callers in KNOWN:
        posture.check(settings)
        return
    with pytest.raises(Unusable) as refused:
        posture.check(settings)
    assert all(way in str(refused.value) for way in ("keys create", "oauth_issuer", "--insecure-no-auth"))


@pytest.mark.parametrize(
    ("bind", "callers"),
    [pytest.param(*each, marks=() if each in SHORT else pytest.mark.long) for each in STARTS],
)
def test_a_server_starts_or_ends_with_status_two_and_says_why(place: Path, bind: str, callers: str) -> None:
    told = [word for name, value in (BINDS[bind] | CALLERS[callers]).items() for word in flag(name, value)]
    process = subprocess.Popen(
        serving(place / "folder", place / callers, "--port", "0", *told),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        starts = process.stdout.readline() == f"Serving {place / 'folder'}\n"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=START_LIMIT)
    finally:
        process.kill()
    CANARIES.look(errors, "its errors")
    assert starts == ("loopback" in bind or callers in KNOWN), errors
    assert process.returncode == (0 if starts else 2)
    assert starts or ("keys create" in errors and "Traceback" not in errors and errors.count("\n") == 1)


def flag(name: str, value: Any) -> list[str]:
    """A setting as the command line takes it."""
    spelled = "--" + name.replace("_", "-")
    return [spelled] if value is True else [spelled, ",".join(value) if isinstance(value, tuple) else value]
