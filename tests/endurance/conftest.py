"""What the endurance tests share: servers that begin quickly, and how long a form is wanted."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from .lives import Lives


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """True if the long form was asked for."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """Begins servers, and ends those that are left."""
    if sys.platform != "linux":
        pytest.skip("NOT TESTED: how servers die is looked at on Linux only")
    made = Lives(tmp_path_factory.mktemp("output"))
    yield made
    made.end()
